-- SPDX-License-Identifier: ISC
--
-- wrk: half gets, three sets and one del of eight, over 20,000 keys, values of
-- 100 to 2,000 bytes. In the end tells of everything that went wrong.

local threads = {}
local numbers = 0

function setup(thread)
	numbers = numbers + 1
	thread:set("number", numbers)
	table.insert(threads, thread)
end

function init()
	math.randomseed(number)
	sets, gets, dels, bad = 0, 0, 0, 0
	filler = string.rep("abcdefghijklmnopqrstuvwxyz0123456789 ", 60)
end

function request()
	local key = "mixed/" .. math.random(20000)
	local what = math.random(8)
	if what <= 4 then
		gets = gets + 1
		return wrk.format("GET", "/get?key=" .. key)
	elseif what <= 7 then
		sets = sets + 1
		return wrk.format("POST", "/set", nil, '{"key":"' .. key ..
			'","value":"' ..
			filler:sub(1, math.random(100, 2000)) .. '"}')
	end
	dels = dels + 1
	return wrk.format("DELETE", "/del?key=" .. key)
end

function response(status)
	if status ~= 200 and status ~= 404 then
		bad = bad + 1
	end
end

function done(summary, latency)
	local sets, gets, dels, bad = 0, 0, 0, 0
	for _, t in ipairs(threads) do
		sets = sets + t:get("sets")
		gets = gets + t:get("gets")
		dels = dels + t:get("dels")
		bad = bad + t:get("bad")
	end
	local e = summary.errors
	print(string.format("# %d gets, %d sets, %d dels in %.1f s, p99 " ..
		"%.1f ms, longest %.1f ms", gets, sets, dels,
		summary.duration / 1e6, latency:percentile(99) / 1e3,
		latency.max / 1e3))
	print(string.format("bad=%d connect=%d read=%d write=%d timeout=%d",
		bad, e.connect, e.read, e.write, e.timeout))
end
