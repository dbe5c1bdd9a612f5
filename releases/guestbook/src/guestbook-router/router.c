/* guestbook-router ADDRESS PORT HOST:PORT...: passes each request on to one of the apps, in turn.
 *
 * An app that does not answer, or that says it is draining, is passed over for as long as another one answers. Only
 * requests that were not delivered are tried elsewhere, so no entry is written twice. */
#include "minihttp.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_APPS 64

struct app {
    char host[256];
    int port;
    atomic_int healthy;
};

static struct app apps[MAX_APPS];
static int app_count;
static atomic_uint turn;

static int probe(struct app *app) {
    struct mh_request request = {.method = "GET", .path = "/healthz"};
    struct mh_response response;
    if (mh_call(app->host, app->port, &request, 2000, &response) < 0) return 0;
    int healthy = response.status == 200;
    mh_free(&response);
    return healthy;
}

/* Looks at every app once a second. */
static void *watch(void *unused) {
    (void)unused;
    for (;;) {
        for (int i = 0; i < app_count; i++) atomic_store(&apps[i].healthy, probe(&apps[i]));
        sleep(1);
    }
    return NULL;
}

static int deliver(struct app *app, const struct mh_request *request, struct mh_response *response) {
    return mh_call(app->host, app->port, request, 10000, response);
}

static void handle(const struct mh_request *request, struct mh_response *response, void *context) {
    (void)context;
    if (strcmp(request->path, "/router-healthz") == 0) {
        mh_reply(response, 200, "text/plain", "ok\n");
        return;
    }
    unsigned first = atomic_fetch_add(&turn, 1);
    /* Healthy ones first, then whatever is left: the watch may be a second behind. */
    for (int healthy = 1; healthy >= 0; healthy--) {
        for (int i = 0; i < app_count; i++) {
            struct app *app = &apps[(first + (unsigned)i) % (unsigned)app_count];
            if (atomic_load(&app->healthy) != healthy) continue;
            if (deliver(app, request, response) == 0) return;
            atomic_store(&app->healthy, 0);
            if (errno != ECONNREFUSED && errno != EHOSTUNREACH && errno != ENETUNREACH) {
                mh_reply(response, 502, "text/plain", "the app hung up\n");
                return;
            }
        }
    }
    mh_reply(response, 503, "text/plain", "no app answers\n");
}

int main(int argc, char **argv) {
    pthread_t thread;
    if (argc < 4 || argc - 3 > MAX_APPS) {
        fprintf(stderr, "usage: %s ADDRESS PORT HOST:PORT... (up to %d apps)\n", argv[0], MAX_APPS);
        return 2;
    }
    for (int i = 3; i < argc; i++) {
        struct app *app = &apps[app_count];
        char *colon = strrchr(argv[i], ':');
        if (!colon || (size_t)(colon - argv[i]) >= sizeof app->host) {
            fprintf(stderr, "guestbook-router: '%s' is not HOST:PORT\n", argv[i]);
            return 2;
        }
        memcpy(app->host, argv[i], (size_t)(colon - argv[i]));
        app->port = atoi(colon + 1);
        atomic_store(&app->healthy, 1);
        app_count++;
    }
    if (pthread_create(&thread, NULL, watch, NULL) != 0) {
        perror("guestbook-router: can't start the watch");
        return 1;
    }
    printf("guestbook-router: serving on %s:%s for %d apps\n", argv[1], argv[2], app_count);
    fflush(stdout);
    if (mh_serve(argv[1], atoi(argv[2]), handle, NULL) < 0) {
        fprintf(stderr, "guestbook-router: can't listen on %s:%s: %s\n", argv[1], argv[2], strerror(errno));
        return 1;
    }
    return 0;
}
