/* guestbook-store ADDRESS PORT FILE: keeps the entries, one a line, in FILE.
 *
 *   GET  /entries   the entries, oldest first, one a line
 *   POST /entries   adds the body as an entry; answered when it is on the disk
 *   GET  /healthz   200, or 503 while draining */
#include "minihttp.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct store {
    int fd;
    struct mh_text entries;
    pthread_mutex_t lock;
};

static int load(struct store *store, const char *path) {
    char buffer[65536];
    ssize_t got;
    store->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (store->fd < 0) return -1;
    while ((got = read(store->fd, buffer, sizeof buffer)) > 0) mh_add(&store->entries, buffer, (size_t)got);
    if (got < 0) return -1;
    /* A line that was cut off by a crash was never confirmed: drop it. */
    size_t whole = store->entries.len;
    while (whole > 0 && store->entries.data[whole - 1] != '\n') whole--;
    if (whole < store->entries.len) {
        if (ftruncate(store->fd, (off_t)whole) < 0) return -1;
        store->entries.len = whole;
        store->entries.data[whole] = 0;
    }
    return 0;
}

static int append(struct store *store, const struct mh_request *request) {
    struct mh_text line = {0};
    int result = -1;
    for (size_t i = 0; i < request->body_len; i++) {
        char c = request->body[i];
        /* One entry is one line. */
        if ((unsigned char)c < ' ') c = ' ';
        mh_add(&line, &c, 1);
    }
    mh_adds(&line, "\n");

    pthread_mutex_lock(&store->lock);
    off_t before = lseek(store->fd, 0, SEEK_END);
    if (write(store->fd, line.data, line.len) == (ssize_t)line.len && fdatasync(store->fd) == 0) {
        mh_add(&store->entries, line.data, line.len);
        result = 0;
    } else if (before >= 0 && ftruncate(store->fd, before) < 0) {
        perror("guestbook-store: can't take back half an entry");
    }
    pthread_mutex_unlock(&store->lock);
    free(line.data);
    return result;
}

static void handle(const struct mh_request *request, struct mh_response *response, void *context) {
    struct store *store = context;
    if (strcmp(request->path, "/healthz") == 0) {
        if (mh_draining())
            mh_reply(response, 503, "text/plain", "draining\n");
        else
            mh_reply(response, 200, "text/plain", "ok\n");
    } else if (strcmp(request->path, "/entries") != 0) {
        mh_reply(response, 404, "text/plain", "no such page; try /entries\n");
    } else if (strcmp(request->method, "GET") == 0) {
        pthread_mutex_lock(&store->lock);
        mh_reply(response, 200, "text/plain; charset=utf-8", store->entries.data ? store->entries.data : "");
        pthread_mutex_unlock(&store->lock);
    } else if (strcmp(request->method, "POST") == 0) {
        if (request->body_len == 0)
            mh_reply(response, 400, "text/plain", "an entry needs a text\n");
        else if (append(store, request) < 0)
            mh_reply(response, 503, "text/plain", "the entry could not be written\n");
        else
            mh_reply(response, 201, "text/plain", "written\n");
    } else {
        mh_reply(response, 405, "text/plain", "use GET or POST\n");
    }
}

int main(int argc, char **argv) {
    static struct store store = {.lock = PTHREAD_MUTEX_INITIALIZER};
    if (argc != 4) {
        fprintf(stderr, "usage: %s ADDRESS PORT FILE\n", argv[0]);
        return 2;
    }
    if (load(&store, argv[3]) < 0) {
        fprintf(stderr, "guestbook-store: can't read %s: %s\n", argv[3], strerror(errno));
        return 1;
    }
    printf("guestbook-store: serving %s on %s:%s\n", argv[3], argv[1], argv[2]);
    fflush(stdout);
    if (mh_serve(argv[1], atoi(argv[2]), handle, &store) < 0) {
        fprintf(stderr, "guestbook-store: can't listen on %s:%s: %s\n", argv[1], argv[2], strerror(errno));
        return 1;
    }
    printf("guestbook-store: ended\n");
    return 0;
}
