/* SPDX-License-Identifier: ISC */
/*
 * The long fill as a picture: four panels over the same seconds, one line for
 * each engine. Plain SVG, light, legible in black and white print as well:
 * lines are told apart by their dashes, too.
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/results.h"

#define WIDTH 960
#define LEFT 80
#define RIGHT 20
#define PANEL 170 /* height of one */
#define GAP 48
#define TOP 70
#define PANELS 4

/* Colours that stay apart for people who see them differently. */
static const struct {
	const char *colour, *dash, *width;
} styles[ENGINES_MOST] = {
	{ "#0060a8", "none", "2.2" },
	{ "#d06000", "none", "1.2" },
	{ "#00805a", "5 2", "1.2" },
	{ "#a0408a", "2 2", "1.2" },
};

static const struct panel {
	const char *title;
	enum point_field field;
	double scale; /* of the figure */
	bool log;
} panels[PANELS] = {
	{ "writes per second, in thousands", POINT_WRITE_K, 1, false },
	{ "longest write in each half second, ms", POINT_WRITE_MAX_US, 1e-3,
	  true },
	{ "reads per second beside them, in thousands", POINT_READ_K, 1,
	  false },
	{ "p99.9 of these reads, ms", POINT_READ_P999_US, 1e-3, true },
};

static double most_s; /* the right edge */

static double
x_of(double s)
{
	return LEFT + s / most_s * (WIDTH - LEFT - RIGHT);
}

/* From 0 at the bottom to 1 at the top. */
static double
y_of(double part, unsigned panel)
{
	double bottom = TOP + panel * (PANEL + GAP) + PANEL;

	return bottom - (part < 0 ? 0 : part > 1 ? 1 : part) * PANEL;
}

/* A step of 1, 2 or 5 times a power of ten: about n of them to `most`. */
static double
nice_step(double most, double n)
{
	double raw = most / n, power = pow(10, floor(log10(raw)));

	return raw <= power       ? power
	       : raw <= 2 * power ? 2 * power
	       : raw <= 5 * power ? 5 * power
	                          : 10 * power;
}

static void
range(const struct panel *p, double *least, double *most)
{
	*least = 1e300;
	*most = 0;
	for (unsigned e = 0; e < bench_engine_count; e++) {
		const struct series *s = results_series(e);

		for (unsigned i = 0; i < s->count; i++) {
			double v = s->point[i][p->field] * p->scale;

			if (v > *most)
				*most = v;
			if (v > 0 && v < *least)
				*least = v;
		}
	}
	if (*most <= 0)
		*least = *most = 1;
	if (p->log) {
		*least = pow(10, floor(log10(*least)));
		*most = pow(10, ceil(log10(*most) + 1e-9));
	} else {
		double step = nice_step(*most, 4);

		*least = 0;
		*most = ceil(*most / step) * step;
	}
}

static void
grid_line(FILE *f, double y, double value)
{
	fprintf(f,
	        "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" "
	        "stroke=\"#d8d8d8\"/>\n"
	        "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
	        LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, value);
}

static void
draw_axes(FILE *f, unsigned panel, double least, double most)
{
	const struct panel *p = &panels[panel];
	double step;

	fprintf(f, "<text x=\"%d\" y=\"%.1f\" font-weight=\"bold\">%s</text>\n",
	        LEFT, y_of(1, panel) - 10, p->title);
	if (p->log)
		for (double v = least; v <= most * 1.001; v *= 10)
			grid_line(f,
			          y_of(log10(v / least) / log10(most / least),
			               panel),
			          v);
	else
		for (double v = 0, s = nice_step(most, 4); v <= most * 1.001;
		     v += s)
			grid_line(f, y_of(v / most, panel), v);
	step = nice_step(most_s, 10);
	for (double s = 0; s <= most_s; s += step)
		fprintf(f,
		        "<text x=\"%.1f\" y=\"%.1f\" "
		        "text-anchor=\"middle\">%g%s</text>\n",
		        x_of(s), y_of(0, panel) + 17, s, s > 0 ? "" : " s");
}

static void
draw_line(FILE *f, unsigned panel, unsigned engine, double least, double most)
{
	const struct panel *p = &panels[panel];
	const struct series *s = results_series(engine);

	if (!s->count)
		return;
	fprintf(f,
	        "<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%s\" "
	        "stroke-dasharray=\"%s\" stroke-linejoin=\"round\" points=\"",
	        styles[engine].colour, styles[engine].width,
	        styles[engine].dash);
	for (unsigned i = 0; i < s->count; i++) {
		double v = s->point[i][p->field] * p->scale;
		double part = !p->log ? v / most
		              : v > 0 ? log10(v / least) / log10(most / least)
		                      : 0;

		fprintf(f, "%s%.1f,%.1f", i ? " " : "",
		        x_of(s->point[i][POINT_AT_S]), y_of(part, panel));
	}
	fprintf(f, "\"/>\n");
}

static void
draw_legend(FILE *f)
{
	unsigned x = LEFT;

	for (unsigned e = 0; e < bench_engine_count; e++) {
		if (!results_series(e)->count)
			continue;
		fprintf(f,
		        "<line x1=\"%u\" y1=\"30\" x2=\"%u\" y2=\"30\" "
		        "stroke=\"%s\" stroke-width=\"%s\" "
		        "stroke-dasharray=\"%s\"/>\n"
		        "<text x=\"%u\" y=\"34\">%s</text>\n",
		        x, x + 30, styles[e].colour, styles[e].width,
		        styles[e].dash, x + 38, bench_engines[e]->name);
		x += 130;
	}
}

void
picture_write(const char *path)
{
	const unsigned height = TOP + PANELS * (PANEL + GAP);
	FILE *f;

	most_s = 0;
	for (unsigned e = 0; e < bench_engine_count; e++) {
		const struct series *s = results_series(e);

		if (s->count && s->point[s->count - 1][POINT_AT_S] > most_s)
			most_s = s->point[s->count - 1][POINT_AT_S];
	}
	if (most_s <= 0) {
		fprintf(stderr, "bench: no picture: no long fill was done\n");
		return;
	}
	f = fopen(path, "w");
	if (!f)
		bench_die("bench", path, strerror(errno));
	fprintf(f,
	        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" "
	        "height=\"%u\" viewBox=\"0 0 %u %u\" "
	        "font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"
	        "<title>A long fill with a reader beside it</title>\n"
	        "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n",
	        WIDTH, height, WIDTH, height);
	draw_legend(f);
	for (unsigned p = 0; p < PANELS; p++) {
		double least, most;

		range(&panels[p], &least, &most);
		draw_axes(f, p, least, most);
		for (unsigned e = bench_engine_count; e--;)
			draw_line(f, p, e, least, most); /* lsmkv on top */
	}
	fprintf(f, "</svg>\n");
	if (fclose(f))
		bench_die("bench", path, strerror(errno));
}
