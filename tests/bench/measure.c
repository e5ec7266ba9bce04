/* SPDX-License-Identifier: ISC */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/bench.h"
#include "bench/footprint.h"
#include "bench/measure.h"
#include "bench/memory_group.h"

/* ---- the measurement ---- */

static FILE *report; /* lines "value<TAB>name", or "@" and a point */

void
measure_tell(double value, const char *name, ...)
{
	va_list ap;

	fprintf(report, "%.9g\t", value);
	va_start(ap, name);
	vfprintf(report, name, ap);
	va_end(ap);
	fprintf(report, "\n");
	fflush(report);
}

void
measure_tell_point(const double point[POINT_FIELDS])
{
	fprintf(report, "@");
	for (unsigned i = 0; i < POINT_FIELDS; i++)
		fprintf(report, " %.9g", point[i]);
	fprintf(report, "\n");
	fflush(report);
}

/* ---- its parent ---- */

static void
save(void)
{
	if (settings.json)
		json_write(settings.json);
}

static void
hear(char *line, unsigned engine, const struct suite *suite, unsigned turn)
{
	char *at;

	line[strcspn(line, "\n")] = '\0';
	if (line[0] == '@') {
		double point[POINT_FIELDS];

		at = line + 1;
		for (unsigned i = 0; i < POINT_FIELDS; i++)
			point[i] = strtod(at, &at);
		results_add_point(engine, turn, point);
	} else {
		double value = strtod(line, &at);

		results_add(engine, at + 1, value);
		if (suite->once) {
			fprintf(stderr, "\n  %-8s %-40s %10.6g",
			        bench_engines[engine]->name, at + 1, value);
			save();
		}
	}
}

static void
remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char file[4096];

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (unlink(file))
			remove_tree(file);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

bool
measure(unsigned engine, const struct suite *suite, unsigned turn)
{
	const struct bench_engine *e = bench_engines[engine];
	uint64_t start = now_ns();
	char dir[2048], line[512];
	int pipes[2], status;
	pid_t pid;
	bool ok;
	FILE *in;

	snprintf(dir, sizeof(dir), "%s/%s", settings.dir, e->name);
	remove_tree(dir);
	if ((mkdir(settings.dir, 0755) && errno != EEXIST) || mkdir(dir, 0755))
		bench_die("bench", dir, strerror(errno));
	sync(); /* what others wrote is not this one's to write back */
	fprintf(stderr, "bench: turn %u: %s: %s ...", turn + 1, suite->name,
	        e->name);
	if (pipe(pipes))
		bench_die("bench", "pipe", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL); /* no one left to tell */
		close(pipes[0]);
		report = fdopen(pipes[1], "w");
		footprint_watch();
		suite->run(e, dir);
		fclose(report);
		_exit(0);
	}
	close(pipes[1]);
	in = fdopen(pipes[0], "r");
	while (fgets(line, sizeof(line), in))
		hear(line, engine, suite, turn);
	fclose(in);
	ok = pid >= 0 && waitpid(pid, &status, 0) == pid && !status;
	fprintf(stderr, "%s%s %.0f s\n", suite->once ? "\n " : "",
	        ok ? "" : " it failed, after",
	        (double)(now_ns() - start) / 1e9);
	save();
	memory_group_remove();
	remove_tree(dir);
	return ok;
}
