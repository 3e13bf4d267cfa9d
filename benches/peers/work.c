/* What is computed everywhere, in C: as a library for Python's systems, as a program for those that start one an item.
 *
 *   work noop I...             a line an item: i & 255
 *   work spin STEPS I...       a line an item: a xorshift64 that began at i + 1, after so many steps
 *   work count [FILE K N]      a line a word, `word count`: of standard input, or of the K-th of N parts of a file
 *   work top [FILE...]         the total and the ten most frequent words of what `count` printed
 *   work zipf BYTES            the text
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Never inlined, so that no caller's constants make it another loop. */
__attribute__((noinline)) uint64_t spin(uint64_t item, uint64_t steps) {
    uint64_t x = item + 1;
    for (uint64_t step = 0; step < steps; step++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    return x;
}

/* Words and how often they were seen: open addressing, at most half full. The words stay where they are read. */
struct word { const char *at; uint32_t length, hash; uint64_t count; };
struct table { struct word *words; uint64_t room, used; };

static void fail(const char *what) {
    perror(what);
    exit(2);
}

static struct table empty(uint64_t room) {
    struct table table = { calloc(room, sizeof(struct word)), room, 0 };
    if (!table.words) fail("memory");
    return table;
}

static void add(struct table *table, const char *at, uint32_t length, uint32_t hash, uint64_t count);

static void grow(struct table *table) {
    struct table larger = empty(table->room * 2);
    for (uint64_t i = 0; i < table->room; i++) {
        struct word *word = &table->words[i];
        if (word->at) add(&larger, word->at, word->length, word->hash, word->count);
    }
    free(table->words);
    *table = larger;
}

static void add(struct table *table, const char *at, uint32_t length, uint32_t hash, uint64_t count) {
    for (uint64_t i = hash;; i++) {
        struct word *word = &table->words[i & (table->room - 1)];
        if (!word->at) {
            *word = (struct word){ at, length, hash, count };
            if (++table->used * 2 > table->room) grow(table);
            return;
        }
        if (word->hash == hash && word->length == length && !memcmp(word->at, at, length)) {
            word->count += count;
            return;
        }
    }
}

static int is_space(char byte) { return byte == ' ' || (byte >= '\t' && byte <= '\r'); }

static uint32_t mixed(uint64_t hash) { return (uint32_t)((hash * 0x9e3779b97f4a7c15u) >> 32); }

static void count_words(struct table *table, const char *text, const char *end) {
    while (text < end) {
        while (text < end && is_space(*text)) text++;
        const char *begin = text;
        uint64_t hash = 0;
        for (; text < end && !is_space(*text); text++) hash = hash * 31 + (unsigned char)*text;
        if (text > begin) add(table, begin, text - begin, mixed(hash), 1);
    }
}

/* Reads lines `word count` and adds them up. */
static void add_counted(struct table *table, const char *text, const char *end) {
    while (text < end) {
        const char *begin = text;
        uint64_t hash = 0, count = 0;
        for (; text < end && *text != ' '; text++) hash = hash * 31 + (unsigned char)*text;
        const char *stop = text++;
        for (; text < end && *text != '\n'; text++) count = count * 10 + (*text - '0');
        text++;
        add(table, begin, stop - begin, mixed(hash), count);
    }
}

static char *lines(struct table *table, uint64_t *length) {
    char *all = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&all, &size);
    for (uint64_t i = 0; i < table->room; i++) {
        struct word *word = &table->words[i];
        if (!word->at) continue;
        fwrite(word->at, 1, word->length, out);
        fprintf(out, " %" PRIu64 "\n", word->count);
    }
    fclose(out);
    *length = size;
    return all;
}

static int more_first(const void *one, const void *other) {
    const struct word *a = one, *b = other;
    if (a->count != b->count) return a->count < b->count ? 1 : -1;
    uint32_t length = a->length < b->length ? a->length : b->length;
    int order = a->length && b->length ? memcmp(a->at ? a->at : "", b->at ? b->at : "", length) : 0;
    return order ? order : (int)a->length - (int)b->length;
}

/* The lines of the K-th of N parts of a file, in new memory: those that begin in it. */
static char *part(const char *path, uint64_t k, uint64_t n, uint64_t *length) {
    int file = open(path, O_RDONLY);
    struct stat stat;
    if (file < 0 || fstat(file, &stat)) fail(path);
    uint64_t size = stat.st_size, from = size * k / n, to = size * (k + 1) / n;
    /* A line is longer than this nowhere in our text. */
    uint64_t margin = 64 << 10, begin = from ? from - 1 : 0, end = to + margin < size ? to + margin : size;
    char *all = malloc(end - begin + 1);
    for (uint64_t have = 0; have < end - begin;) {
        ssize_t got = pread(file, all + have, end - begin - have, begin + have);
        if (got <= 0) fail(path);
        have += got;
    }
    close(file);
    char *first = all, *last = all + (end - begin);
    if (from) first = (char *)memchr(all, '\n', last - all) + 1;
    if (to < size) last = (char *)memchr(all + (to - 1 - begin), '\n', last - all - (to - 1 - begin)) + 1;
    *length = last > first ? last - first : 0;
    memmove(all, first, *length);
    return all;
}

/* For Python: what `work count FILE K N` prints, to be given to `release`. */
char *count_part(const char *path, uint64_t k, uint64_t n, uint64_t *length) {
    uint64_t size;
    char *text = part(path, k, n, &size);
    struct table table = empty(1 << 18);
    count_words(&table, text, text + size);
    char *all = lines(&table, length);
    free(table.words);
    free(text);
    return all;
}

/* For Python: what `work top` prints of several counts that follow one another. */
char *top(const char *counted, uint64_t size, uint64_t *length) {
    struct table table = empty(1 << 18);
    add_counted(&table, counted, counted + size);
    uint64_t total = 0;
    for (uint64_t i = 0; i < table.room; i++) total += table.words[i].count;
    qsort(table.words, table.room, sizeof(struct word), more_first);
    char *all = NULL;
    size_t have = 0;
    FILE *out = open_memstream(&all, &have);
    fprintf(out, "total %" PRIu64 "\n", total);
    for (uint64_t i = 0; i < 10 && i < table.used; i++)
        fprintf(out, "%.*s %" PRIu64 "\n", (int)table.words[i].length, table.words[i].at, table.words[i].count);
    fclose(out);
    free(table.words);
    *length = have;
    return all;
}

void release(char *all) { free(all); }

static char *whole(FILE *from, uint64_t *length) {
    char *all = NULL;
    uint64_t have = 0, room = 1 << 20;
    do {
        room *= 2;
        all = realloc(all, room);
        if (!all) fail("memory");
        have += fread(all + have, 1, room - have, from);
    } while (have == room);
    *length = have;
    return all;
}

/* Words of a vocabulary of 100,000 of which the r-th is drawn with a chance of 1/(r+1), twelve a line. */
static void zipf(uint64_t bytes) {
    enum { WORDS = 100000 };
    static double until[WORDS];
    static char spelled[WORDS][16];
    static unsigned char lengths[WORDS];
    double sum = 0;
    for (int rank = 0; rank < WORDS; rank++) {
        until[rank] = sum += 1.0 / (rank + 1);
        /* Spelled so that frequent words are not alike: the rank, times a number that 26^4 has no factor of. */
        uint64_t letters = ((uint64_t)rank * 270271u + 17) % 456976u;
        int length = 0;
        for (int i = 0; i < 4; i++, letters /= 26) spelled[rank][length++] = 'a' + letters % 26;
        for (int i = 0; i < rank % 5; i++) spelled[rank][length++] = 'a' + (rank / 5 + i * 7) % 26;
        lengths[rank] = length;
    }
    uint64_t x = 88172645463325252u, written = 0;
    for (uint64_t words = 1; written < bytes; words++) {
        x = spin(x - 1, 1);
        double wanted = (double)(x >> 11) / 9007199254740992.0 * sum;
        int low = 0, high = WORDS - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (until[middle] <= wanted) low = middle + 1; else high = middle;
        }
        fwrite(spelled[low], 1, lengths[low], stdout);
        putchar(words % 12 ? ' ' : '\n');
        written += lengths[low] + 1;
    }
    putchar('\n');
}

/* The slow one of two slots of xargs or parallel puts itself into the slow group. */
static void maybe_slow(void) {
    const char *file = getenv("PEERS_SLOW_FILE"), *slow = getenv("PEERS_SLOW_SLOT");
    const char *slot = getenv("PARALLEL_JOBSLOT");
    if (!slot) slot = getenv("SLOT");
    if (!file || !slow || !slot || strcmp(slot, slow)) return;
    int to = open(file, O_WRONLY);
    if (to < 0 || write(to, "0", 1) != 1) fail(file);
    close(to);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    uint64_t length;
    char *all;
    if (!strcmp(what, "noop")) {
        for (int i = 2; i < argc; i++) printf("%llu\n", strtoull(argv[i], NULL, 10) & 255);
    } else if (!strcmp(what, "spin") && argc > 2) {
        maybe_slow();
        for (int i = 3; i < argc; i++)
            printf("%" PRIu64 "\n", spin(strtoull(argv[i], NULL, 10), strtoull(argv[2], NULL, 10)));
    } else if (!strcmp(what, "count") && argc == 5) {
        all = count_part(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10), &length);
        fwrite(all, 1, length, stdout);
    } else if (!strcmp(what, "count") && argc == 2) {
        struct table table = empty(1 << 18);
        uint64_t size;
        char *text = whole(stdin, &size);
        count_words(&table, text, text + size);
        all = lines(&table, &length);
        fwrite(all, 1, length, stdout);
    } else if (!strcmp(what, "top")) {
        uint64_t size;
        char *counted = whole(stdin, &size);
        all = top(counted, size, &length);
        fwrite(all, 1, length, stdout);
    } else if (!strcmp(what, "zipf") && argc == 3) {
        zipf(strtoull(argv[2], NULL, 10));
    } else {
        fprintf(stderr, "work: see work.c\n");
        return 2;
    }
    return fflush(stdout) ? 2 : 0;
}
