/* Sums a column of a table by the names in its first one.
 *
 * The columns are parted by tabs, and counted from 1. A line is the chunk's number, a name, and its sum. */

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct total {
    char *name;
    long long sum;
};

static int by_name(const void *one, const void *other)
{
    return strcmp(((const struct total *)one)->name, ((const struct total *)other)->name);
}

/* A tree is walked in the order of its names. */
static void print(const void *node, VISIT visit, int depth)
{
    const struct total *total = *(const struct total *const *)node;

    (void)depth;
    if (visit == postorder || visit == leaf)
        printf("%s\t%s\t%lld\n", getenv("ESSAIM_CHUNK"), total->name, total->sum);
}

/* The field at `column`, and its end; NULL if the line has fewer. */
static char *field(char *line, int column, char **end)
{
    char *at = line;

    while (--column > 0 && at != NULL) {
        at = strchr(at, '\t');
        at += at != NULL;
    }
    if (at != NULL)
        *end = at + strcspn(at, "\t");
    return at;
}

static void add(void **sums, const char *name, long long value)
{
    struct total *total = malloc(sizeof *total);
    struct total **found;

    *total = (struct total){ strdup(name), 0 };
    found = tsearch(total, sums, by_name);
    (*found)->sum += value;
    if (*found != total) {
        free(total->name);
        free(total);
    }
}

int main(int argc, char **argv)
{
    int column = argc > 1 ? atoi(argv[1]) : 0;
    void *sums = NULL;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;

    for (int number = 1; (len = getline(&line, &room, stdin)) >= 0; number++) {
        char *end, *rest, *at;
        long long value;

        line[strcspn(line, "\n")] = '\0';
        at = column > 0 ? field(line, column, &end) : NULL;
        errno = 0;
        value = at != NULL ? strtoll(at, &rest, 10) : 0;
        if (at == NULL || rest == at || rest != end || errno != 0) {
            fprintf(stderr, "line %d has no number in column %d\n", number, column);
            return 1;
        }
        line[strcspn(line, "\t")] = '\0';
        add(&sums, line, value);
    }
    twalk(sums, print);
    return fflush(stdout) != 0;
}
