-- SPDX-License-Identifier: ISC
--
-- wrk: the requests of bench-http, of one kind.
--
--     wrk ... -s requests.lua URL -- PROTOCOL OPERATION KEYS DELS SEED FIRST
--
-- PROTOCOL is lsmkv, webdis or etcd. OPERATION is get, set, mix (nine gets to
-- a set), of keys k0000000 ... below KEYS, at random, SEED telling which; del,
-- of keys d0000000 ... below DELS, each once, in an order that looks random,
-- from number FIRST of it on; or put, which brings those back from number
-- FIRST on (and, for etcd, both kinds of keys); or warm, which gets every
-- sixteenth key k, from number FIRST on.
-- Values have 100 bytes, half of them random.
--
-- The last line of output is for bench-http: after "result", answers,
-- microseconds, answers other than 2xx and 3xx, other failures, the 50th and
-- 99th percentile and the maximum of the latency in microseconds, and the
-- number FIRST of the next run.

local threads = {}
local letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" ..
	"0123456789-_"
local base64_letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz" ..
	"0123456789+/"

local function base64(s)
	local out = {}
	for i = 1, #s, 3 do
		local a, b, c = s:byte(i, i + 2)
		local n = a * 65536 + (b or 0) * 256 + (c or 0)
		for shift = 3, 0, -1 do
			local six = math.floor(n / 64 ^ shift) % 64
			out[#out + 1] = base64_letters:sub(six + 1, six + 1)
		end
	end
	local rest = #s % 3
	local text = table.concat(out)
	return rest == 0 and text or
		text:sub(1, #text - 3 + rest) .. ("="):rep(3 - rest)
end

local function random_value()
	local v = {}
	for i = 1, 50 do
		local at = math.random(#letters)
		v[i] = letters:sub(at, at)
	end
	return table.concat(v) .. ("v"):rep(50)
end

function setup(thread)
	table.insert(threads, thread)
end

function init(args)
	local protocol, operation = args[1], args[2]
	local keys, dels = tonumber(args[3]), tonumber(args[4])
	local host = wrk.headers["Host"]
	local values = {}
	local head = " HTTP/1.1\r\nHost: " .. host .. "\r\n"
	local format, random = string.format, math.random
	local get, set, del

	math.randomseed(tonumber(args[5]))
	number = tonumber(args[6])
	for i = 1, 64 do
		values[i] = random_value()
	end

	-- As text: the method and path up to a key, and what follows it.
	local function with_body(method, path, body)
		return method .. " " .. path .. head .. "Content-Length: " ..
			#body .. "\r\n\r\n" .. body
	end
	if protocol == "lsmkv" then
		local tail = head .. "\r\n"
		local before = with_body("POST", "/set", '{"key":"k0000000",' ..
			'"value":"' .. values[1] .. '"}'):match('^.*"key":"')
		get = function(key)
			return "GET /get?key=" .. key .. tail
		end
		set = function(key)
			return before .. key .. '","value":"' ..
				values[random(64)] .. '"}'
		end
		del = function(key)
			return "DELETE /del?key=" .. key .. tail
		end
	elseif protocol == "webdis" then
		local tail = head .. "\r\n"
		local before = with_body("POST", "/", "SET/k0000000/" ..
			values[1]):match("^.*\r\n\r\n")
		get = function(key)
			return "GET /GET/" .. key .. tail
		end
		set = function(key)
			return before .. "SET/" .. key .. "/" ..
				values[random(64)]
		end
		del = function(key)
			return "GET /DEL/" .. key .. tail
		end
	else
		for i = 1, 64 do
			values[i] = base64(values[i])
		end
		get = function(key)
			return with_body("POST", "/v3/kv/range",
				'{"key":"' .. base64(key) .. '"}')
		end
		set = function(key)
			return with_body("POST", "/v3/kv/put", '{"key":"' ..
				base64(key) .. '","value":"' ..
				values[random(64)] .. '"}')
		end
		del = function(key)
			return with_body("POST", "/v3/kv/deleterange",
				'{"key":"' .. base64(key) .. '"}')
		end
	end

	-- The multiplier is a prime that no number of keys is a multiple of.
	local function next_d()
		local n = number * 611953 % dels
		number = number + 1
		return format("d%07d", n)
	end
	if operation == "get" then
		request = function()
			return get(format("k%07d", random(0, keys - 1)))
		end
	elseif operation == "set" then
		request = function()
			return set(format("k%07d", random(0, keys - 1)))
		end
	elseif operation == "mix" then
		request = function()
			local key = format("k%07d", random(0, keys - 1))
			return random(10) == 1 and set(key) or get(key)
		end
	elseif operation == "warm" then
		request = function()
			number = number + 1
			return get(format("k%07d", number * 16 % keys))
		end
	elseif operation == "del" then
		request = function()
			return del(next_d())
		end
	elseif protocol == "etcd" then
		-- A transaction of a hundred, of both kinds of keys.
		request = function()
			local puts = {}
			for i = 1, 100, 2 do
				local n = number % keys
				number = number + 1
				for j, letter in ipairs({ "d", "k" }) do
					puts[i + j - 1] = '{"requestPut":' ..
						'{"key":"' .. base64(format(
						"%s%07d", letter, n)) ..
						'","value":"' ..
						values[random(64)] .. '"}}'
				end
			end
			return with_body("POST", "/v3/kv/txn",
				'{"success":[' .. table.concat(puts, ",") ..
				"]}")
		end
	else
		request = function()
			return set(next_d())
		end
	end
end

function done(summary, latency)
	local e = summary.errors

	print(string.format("result %d %d %d %d %d %d %d %d",
		summary.requests, summary.duration, e.status,
		e.connect + e.read + e.write + e.timeout,
		latency:percentile(50), latency:percentile(99), latency.max,
		threads[1]:get("number")))
end
