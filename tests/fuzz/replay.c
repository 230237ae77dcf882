// SPDX-License-Identifier: MIT
// Runs a fuzz target once on each file named on the command line: the corpus as a plain test.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    int result = -1;
    long size;
    uint8_t *data = NULL;
    if (fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0 || fseek(file, 0, SEEK_SET) != 0)
        goto out;
    // Exactly as long as the input, so that a sanitizer sees the first byte read beyond it.
    data = malloc(size ? (size_t)size : 1);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size)
        goto out;
    result = LLVMFuzzerTestOneInput(data, (size_t)size);
out:
    if (result != 0)
        fprintf(stderr, "%s: not replayed\n", path);
    free(data);
    fclose(file);
    return result;
}

int main(int argc, char **argv)
{
    int failed = argc < 2;
    for (int i = 1; i < argc; i++)
        failed |= replay(argv[i]) != 0;
    printf("%d inputs replayed\n", argc - 1);
    return failed;
}
