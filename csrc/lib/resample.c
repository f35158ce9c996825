// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * resample.c - the bootstrap's inner loop
 */
#include <errno.h>
#include <math.h>
#include <string.h>

#include "lib/resample.h"

/* splitmix64 (Steele, Lea and Flood, 2014) */
static uint64_t next_random(uint64_t *state)
{
	uint64_t x = *state += 0x9e3779b97f4a7c15;

	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

int resample_add(struct resample *to, const double *values, size_t rows, double factor)
{
	double sum[RESAMPLE_MAX_COLS], squares[RESAMPLE_MAX_COLS];
	double *sums = to->sums, *variances = to->variances;
	size_t cols = to->cols;

	if (rows < 2 || rows > UINT32_MAX || cols > RESAMPLE_MAX_COLS)
		return -EINVAL;
	for (size_t r = 0; r < to->replicates; r++, sums += cols, variances += cols) {
		memset(sum, 0, cols * sizeof(*sum));
		memset(squares, 0, cols * sizeof(*squares));
		for (size_t i = 0; i < rows; i++) {
			const double *row =
				values + ((next_random(&to->seed) >> 32) * rows >> 32) * cols;

			for (size_t c = 0; c < cols; c++) {
				sum[c] += row[c];
				squares[c] += row[c] * row[c];
			}
		}
		for (size_t c = 0; c < cols; c++) {
			double spread = squares[c] - sum[c] * sum[c] / rows;

			sums[c] += factor * sum[c];
			variances[c] += factor * factor * spread * rows / (rows - 1);
		}
	}
	return 0;
}

void resample_studentise(struct resample *to)
{
	for (size_t i = 0; i < to->replicates * to->cols; i++)
		to->sums[i] = to->variances[i] > 0 ? to->sums[i] / sqrt(to->variances[i]) : 0;
}
