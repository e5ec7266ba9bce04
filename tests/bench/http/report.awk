# SPDX-License-Identifier: ISC
#
# awk -v json=FILE -f report.awk TSV...: the tables and goals of bench-http, and
# the same as JSON. A line of TSV is one run: target, operation, connections,
# round, answers, microseconds, answers that were no 2xx, failures, p50, p99 and
# maximum in microseconds, in ticks of 10 ms the CPU of the responder, of its
# helpers and of the web server, and the responder's resident memory in kB.

BEGIN {
	FS = "\t"
	TICK_US = 10000
	GOALS_AT = 64
}

{
	cell = $1 SUBSEP $2 SUBSEP $3
	if (!seen_target[$1]++)
		target[++targets] = $1
	if (!seen_operation[$2]++)
		operation[++operations] = $2
	if (!seen_c[$3]++)
		connections[++connection_counts] = $3
	runs[cell]++
	rates[cell] = rates[cell] " " $5 * 1e6 / $6
	p50s[cell] = p50s[cell] " " $9 / 1e3
	p99s[cell] = p99s[cell] " " $10 / 1e3
	if ($11 / 1e3 > longest[cell])
		longest[cell] = $11 / 1e3
	answers[cell] += $5
	bad[cell] += $7 + $8
	own[cell] += $12 * TICK_US
	helper[cell] += $13 * TICK_US
	web[cell] += $14 * TICK_US
	if ($15 / 1024 > resident[cell])
		resident[cell] = $15 / 1024
}

# Of numbers with blanks between them.
function median(list,    n, v, i, j, t)
{
	n = split(list, v, " ")
	for (i = 2; i <= n; i++)
		for (j = i; j > 1 && v[j] + 0 < v[j - 1] + 0; j--) {
			t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
		}
	return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
}

function rate(t, o, c)
{
	return median(rates[t, o, c])
}

function behind(t)
{
	return index(t, "-") ? substr(t, index(t, "-") + 1) : ""
}

function spelled(t)
{
	sub(/-/, " behind ", t)
	return t == "webdis" ? "webdis, no web server" : t
}

function table(o, c,    i, t, cell, to)
{
	printf "\n%s, %d connection%s\n\n", toupper(o), c, \
		(c > 1 ? "s" : "")
	printf "  %-26s %8s %7s %7s %7s %7s  %8s %6s %6s %6s\n", "",
		"requests", "of the", "p50", "p99", "longest", "CPU us a",
		"", "web", "memory"
	printf "  %-26s %8s %7s %7s %7s %7s  %8s %6s %6s %6s\n", "", "a second",
		"ceiling", "ms", "ms", "ms", "request", "helper", "server", "MB"
	for (i = 1; i <= targets; i++) {
		t = target[i]
		cell = t SUBSEP o SUBSEP c
		if (!(cell in runs))
			continue
		to = "ceiling-" behind(t) SUBSEP o SUBSEP c
		printf "  %-26s %8.0f %7s %7.2f %7.2f %7.1f  %8.1f %6.1f %6s %6.0f%s\n",
			spelled(t), median(rates[cell]),
			behind(t) && (to in runs) ? \
			sprintf("%.2f", median(rates[cell]) / \
				median(rates[to])) : "",
			median(p50s[cell]), median(p99s[cell]), longest[cell],
			own[cell] / answers[cell], helper[cell] / answers[cell],
			behind(t) ? sprintf("%.1f", web[cell] / answers[cell]) : "",
			resident[cell],
			bad[cell] ? sprintf("   %d FAILED", bad[cell]) : ""
	}
}

# goal WHAT OURS THEIRS OPERATION LEAST: tells, and notes, if it was measured.
function goal(what, ours, theirs, o, least,    a, b, ratio, met)
{
	a = ours SUBSEP o SUBSEP GOALS_AT
	b = theirs SUBSEP o SUBSEP GOALS_AT
	if (!(a in runs) || !(b in runs))
		return
	ratio = median(rates[a]) / median(rates[b])
	met = ratio >= least
	printf "  %-58s %6.2f   %s\n", toupper(o) " " what " >= " \
		sprintf("%.2f", least), ratio, met ? "met" : "NOT met"
	goals = goals sprintf("%s\n  {\"operation\": \"%s\", \"of\": \"%s\", " \
		"\"to\": \"%s\", \"least\": %.2f, \"ratio\": %.3f, \"met\": %s}",
		goals ? "," : "", o, ours, theirs, least, ratio,
		met ? "true" : "false")
}

# What is left of the transport's rate once there is an API and an engine.
function of_transport(server,    i, j, s, o, a, b, line, any)
{
	for (i = 1; i <= 3; i++) {
		s = server[i]
		line = ""
		for (j = 1; j <= operations; j++) {
			o = operation[j]
			a = "lsmkv-" s SUBSEP o SUBSEP GOALS_AT
			b = "transport-" s SUBSEP o SUBSEP GOALS_AT
			if ((a in runs) && (b in runs))
				line = line sprintf("  %s %.2f", toupper(o), \
					median(rates[a]) / median(rates[b]))
		}
		if (line && !any++)
			print "\nOf a responder on lsmkv's own transport that " \
				"only answers, no goal\n"
		if (line)
			printf "  behind %-10s%s\n", s, line
	}
}

function write_json(    i, j, k, cell, comma)
{
	print "{\"runs\": [" >json
	for (j = 1; j <= operations; j++)
		for (k = 1; k <= connection_counts; k++)
			for (i = 1; i <= targets; i++) {
				cell = target[i] SUBSEP operation[j] SUBSEP \
					connections[k]
				if (!(cell in runs))
					continue
				printf "%s  {\"target\": \"%s\", " \
					"\"operation\": \"%s\", " \
					"\"connections\": %d, \"rounds\": %d, " \
					"\"requests_per_s\": %.1f, " \
					"\"p50_ms\": %.3f, \"p99_ms\": %.3f, " \
					"\"longest_ms\": %.3f, " \
					"\"cpu_us\": %.2f, " \
					"\"helper_cpu_us\": %.2f, " \
					"\"web_cpu_us\": %.2f, " \
					"\"memory_mb\": %.1f, \"failed\": %d}",
					comma, target[i], operation[j],
					connections[k], runs[cell],
					median(rates[cell]),
					median(p50s[cell]), median(p99s[cell]),
					longest[cell],
					own[cell] / answers[cell],
					helper[cell] / answers[cell],
					web[cell] / answers[cell],
					resident[cell], bad[cell] >json
				comma = ",\n"
			}
	printf "\n], \"goals\": [%s\n]}\n", goals >json
}

END {
	if (!targets)
		exit 1
	for (j = 1; j <= operations; j++)
		for (k = 1; k <= connection_counts; k++)
			table(operation[j], connections[k])
	printf "\nGoals, at %d connections\n\n", GOALS_AT
	split("lighttpd nginx apache", server, " ")
	for (i = 1; i <= 3; i++) {
		s = server[i]
		goal("of the ceiling behind " s, "lsmkv-" s, "ceiling-" s,
			"get", 0.95)
		goal("of the ceiling behind " s, "lsmkv-" s, "ceiling-" s,
			"set", 0.90)
		goal("of the ceiling behind " s, "lsmkv-" s, "ceiling-" s,
			"del", 0.85)
	}
	split("get set del", o, " ")
	for (i = 1; i <= 3; i++)
		goal("of webdis+redis, both behind lighttpd", "lsmkv-lighttpd",
			"webdis-lighttpd", o[i], 2)
	goal("behind nginx, of webdis+redis alone", "lsmkv-nginx", "webdis",
		"get", 1)
	for (i = 1; i <= 3; i++)
		goal("behind nginx, of etcd", "lsmkv-nginx", "etcd", o[i], 4)
	of_transport(server)
	write_json()
}
