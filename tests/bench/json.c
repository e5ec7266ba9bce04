/* SPDX-License-Identifier: ISC */
/*
 * Every single figure, with the machine, the versions and the settings, for
 * programs. The file is written again with what came since, and replaced as a
 * whole, so that a run that is cut short leaves all that it had measured.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/machine.h"
#include "bench/results.h"
#include "bench/session.h"

static void
write_string(FILE *f, const char *s)
{
	putc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			putc('\\', f);
		if ((unsigned char)*s >= ' ')
			putc(*s, f);
	}
	putc('"', f);
}

/* The rest of the first line of a file that begins with `name`. */
static void
write_line_of(FILE *f, const char *path, const char *name)
{
	char line[256], *at = NULL;
	FILE *in = fopen(path, "r");

	while (in && !at && fgets(line, sizeof(line), in))
		if (!strncmp(line, name, strlen(name)))
			at = line + strlen(name);
	if (in)
		fclose(in);
	if (at) {
		at += strspn(at, "\t :=\"");
		at[strcspn(at, "\"\n")] = '\0';
	}
	write_string(f, at ? at : "");
}

static void
write_machine(FILE *f)
{
	struct utsname name;
	time_t now = time(NULL);
	char when[32];

	uname(&name);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	fprintf(f, "\"when\":\"%s\",\n\"machine\":{\"cpu\":", when);
	write_line_of(f, "/proc/cpuinfo", "model name");
	fprintf(f, ",\"cpus\":%ld,\"memory\":", sysconf(_SC_NPROCESSORS_ONLN));
	write_line_of(f, "/proc/meminfo", "MemTotal");
	fprintf(f, ",\"kernel\":");
	write_string(f, name.release);
	fprintf(f, ",\"system\":");
	write_line_of(f, "/etc/os-release", "PRETTY_NAME");
	fprintf(f,
	        ",\n\"two_threads_sums\":%.3f,\"two_threads_reads\":%.3f,"
	        "\"call_us\":%.3f,\"pread_us\":%.3f},\n",
	        machine.sums_2, machine.reads_2, machine.call_us,
	        machine.pread_us);
}

static void
write_settings(FILE *f)
{
	fprintf(f,
	        "\"settings\":{\"entries\":%" PRIu64 ",\"value_bytes\":%" PRIu64
	        ",\"read_seconds\":%g,\"sync_writes\":%" PRIu64
	        ",\"memtable_bytes\":%" PRIu64 ",\"cache_bytes\":%" PRIu64
	        ",\"within_bytes\":%" PRIu64 ",\"long_entries\":%" PRIu64
	        ",\"long_seconds\":%g"
	        ",\"open_gb\":%g,\"turns\":%u},\n",
	        settings.entries, settings.value_len, settings.seconds,
	        settings.sync_writes, settings.memtable_bytes,
	        settings.cache_bytes, settings.within_bytes,
	        settings.long_entries, settings.long_seconds, settings.open_gb,
	        settings.turns);
}

static void
write_engines(FILE *f)
{
	fprintf(f, "\"engines\":{");
	for (unsigned e = 0; e < bench_engine_count; e++) {
		const struct data data = { .entries = settings.entries,
			                   .value_len = settings.value_len };
		struct bench_config config;
		char text[256];

		session_config(&config, "", &data, CACHE_AS_SET, false);
		fprintf(f, "%s\n\"%s\":{\"version\":", e ? "," : "",
		        bench_engines[e]->name);
		bench_engines[e]->version(text, sizeof(text));
		write_string(f, text);
		fprintf(f, ",\"compression\":");
		write_string(f, bench_engines[e]->compression);
		fprintf(f, ",\"given\":");
		bench_engines[e]->describe(&config, text, sizeof(text));
		write_string(f, text);
		fprintf(f, "}");
	}
	fprintf(f, "},\n");
}

static void
write_rows(FILE *f)
{
	fprintf(f, "\"rows\":{");
	for (unsigned i = 0; i < results_rows(); i++) {
		const struct row *r = results_row(i);
		bool first = true;

		fprintf(f, "%s\n\"%s\":{", i ? "," : "", r->name);
		for (unsigned e = 0; e < bench_engine_count; e++) {
			if (!r->count[e])
				continue;
			fprintf(f, "%s\"%s\":[", first ? "" : ",",
			        bench_engines[e]->name);
			for (unsigned t = 0; t < r->count[e]; t++)
				fprintf(f, "%s%.6g", t ? "," : "",
				        r->value[e][t]);
			fprintf(f, "]");
			first = false;
		}
		fprintf(f, "}");
	}
	fprintf(f, "},\n");
}

/* In the order of enum point_field. */
static void
write_series(FILE *f)
{
	fprintf(f, "\"long_fill\":{\"fields\":[\"s\",\"write k/s\","
	           "\"write p99 us\",\"write p99.9 us\",\"write max us\","
	           "\"read k/s\",\"read p50 us\",\"read p99 us\","
	           "\"read p99.9 us\",\"read max us\"]");
	for (unsigned e = 0; e < bench_engine_count; e++) {
		const struct series *s = results_series(e);

		if (!s->count)
			continue;
		fprintf(f, ",\n\"%s\":[", bench_engines[e]->name);
		for (unsigned i = 0; i < s->count; i++) {
			fprintf(f, "%s", i ? ",[" : "[");
			for (unsigned k = 0; k < POINT_FIELDS; k++)
				fprintf(f, "%s%.6g", k ? "," : "",
				        s->point[i][k]);
			fprintf(f, "]");
		}
		fprintf(f, "]");
	}
	fprintf(f, "},\n");
}

void
json_write(const char *path)
{
	char half[4096];
	FILE *f;

	snprintf(half, sizeof(half), "%s.new", path);
	f = fopen(half, "w");
	if (!f)
		bench_die("bench", half, strerror(errno));
	fprintf(f, "{");
	write_machine(f);
	write_settings(f);
	write_engines(f);
	write_rows(f);
	write_series(f);
	fprintf(f, "\"goals\":[");
	goals_write_json(f);
	fprintf(f, "]}\n");
	if (fclose(f) || rename(half, path))
		bench_die("bench", path, strerror(errno));
}
