/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * resample.h - the bootstrap: how sums over a sample would vary
 */
#ifndef ZSWAP_RESAMPLE_H
#define ZSWAP_RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* cffi: begin */

/* Most columns of one call. */
#define RESAMPLE_MAX_COLS 1024

/*
 * resample_add() draws a sample from a sample, 'replicates' times: of 'rows'
 * rows of 'cols' values each it draws 'rows' with replacement. For each column
 * it adds factor times the sum of the drawn values to sums[], and the estimated
 * variance of that to variances[]; both have 'cols' cells for each replicate.
 * The values of a column must have a mean of 0. *seed selects the draws, and
 * becomes the seed of the next call.
 *
 * Returns 0; -EINVAL if there are fewer than 2 rows, 2^32 or more, or more than
 * RESAMPLE_MAX_COLS columns.
 */
int resample_add(const double *values, size_t rows, size_t cols, double factor, size_t replicates,
		 uint64_t *seed, double *sums, double *variances);

/* cffi: end */

#endif
