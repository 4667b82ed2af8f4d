/* Filters a CSV on a machine without Python: t,pump,level a line (level empty where no reading came); prints the belief.

   pollux export c pollux.twins.cascaded_tanks:CascadedTanks --kernel filter --out .
   cc -std=c99 -O2 main.c pollux_cascaded_tanks_filter.c -lm -o edge
   ./edge < record.csv
*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pollux_cascaded_tanks_filter.h"

#define N 2

static double number(const char *text) {
    char *end;
    const double value = strtod(text, &end);
    return end == text ? (double)NAN : value;
}

int main(void) {
    double x[N], P[N * N], u[1], t = 0.0;
    char line[256];
    int first = 1;
    memcpy(x, pollux_cascaded_tanks_x0, sizeof x);
    memcpy(P, pollux_cascaded_tanks_P0, sizeof P);
    memcpy(u, pollux_cascaded_tanks_u0, sizeof u);
    if (fgets(line, sizeof line, stdin) == NULL) { /* the names of the columns */
        return EXIT_FAILURE;
    }
    printf("t,upper,lower,upper_sd,lower_sd,nis\n");
    while (fgets(line, sizeof line, stdin) != NULL) {
        double x_next[N], P_next[N * N], y_hat[1], nu[1], S[1], used[1], nis;
        const char *pump = strchr(line, ',');
        const char *level = pump == NULL ? NULL : strchr(pump + 1, ',');
        if (level == NULL) {
            fprintf(stderr, "a line has t,pump,level; received: %s", line);
            return EXIT_FAILURE;
        }
        const double now = number(line), use[1] = {1.0};
        const double v[1] = {number(pump + 1)}, y[1] = {number(level + 1)};
        const double dt = first ? 0.0 : now - t;
        pollux_cascaded_tanks_filter(now - dt, dt, x, P, first ? v : u, v, y, use, pollux_cascaded_tanks_gate,
                                     pollux_cascaded_tanks_p0, pollux_cascaded_tanks_Q, pollux_cascaded_tanks_R, x_next,
                                     P_next, y_hat, nu, S, used, &nis);
        memcpy(x, x_next, sizeof x);
        memcpy(P, P_next, sizeof P);
        memcpy(u, v, sizeof u);
        t = now;
        first = 0;
        printf("%.17g,%.17g,%.17g,%.17g,%.17g,%.17g\n", t, x[0], x[1], sqrt(P[0]), sqrt(P[3]), nis);
    }
    return EXIT_SUCCESS;
}
