/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resample.h - the bootstrap: how sums over a sample would vary
 */
#ifndef ZSWAP_RESAMPLE_H
#define ZSWAP_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* Most columns. */
#define RESAMPLE_MAX_COLS 1024

/* A bootstrap: what the sums over samples like one sample would be. */
struct resample {
	size_t replicates, cols;
	uint64_t seed; /* selects the draws; each call changes it */
	/* of each replicate, 'cols' numbers each */
	double *sums, *variances;
};

/*
 * resample_add() draws samples from one: for each replicate it draws 'rows'
 * rows, with replacement, of the 'rows' rows of 'cols' values. It adds factor
 * times the sum of each column to sums[], and the variance of that, estimated
 * from the rows drawn, to variances[]. Each column must have a mean of 0.
 *
 * Returns 0; -EINVAL if there are fewer than 2 rows, 2^32 or more, or more than
 * RESAMPLE_MAX_COLS columns.
 */
int resample_add(struct resample *to, const double *values, size_t rows, double factor);

/*
 * resample_studentise() divides each sum by its standard error; a sum without a
 * variance becomes 0.
 */
void resample_studentise(struct resample *to);

/* cffi: end */

#endif
