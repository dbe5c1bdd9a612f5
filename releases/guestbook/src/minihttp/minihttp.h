/* minihttp: a small HTTP/1.1 server and client, one thread a connection.
 *
 * What it is for: the three programs of this release. What it leaves out: TLS, chunked requests,
 * keep-alive. A body may have MH_MAX_BODY bytes. */
#ifndef MINIHTTP_H
#define MINIHTTP_H

#include <stddef.h>

#define MH_MAX_HEAD 16384
#define MH_MAX_BODY 65536

struct mh_request {
    char method[16];
    char path[1024];       /* as sent, with the query */
    char content_type[128];
    char *body;            /* zero-terminated */
    size_t body_len;
};

struct mh_response {
    int status;
    char content_type[128];
    char location[512];    /* sent when not empty */
    char *body;            /* malloc'ed; the receiver frees it */
    size_t body_len;
};

/* Fills the response. Called from many threads at once. */
typedef void (*mh_handler)(const struct mh_request *request, struct mh_response *response, void *context);

/* Serves until SIGTERM; connections that are open then are answered first. SIGUSR1 starts draining: mh_draining()
 * turns true and everything goes on being answered, so that a balancer can look elsewhere in time.
 * Returns 0 after SIGTERM and -1, with errno set, when the address can't be listened on. */
int mh_serve(const char *address, int port, mh_handler handler, void *context);
int mh_draining(void);

/* One request to another server. Returns 0 and the response, or -1 with errno set. */
int mh_call(const char *host, int port, const struct mh_request *request, int timeout_ms, struct mh_response *response);

/* Sets status and a copy of the text as the body. */
void mh_reply(struct mh_response *response, int status, const char *content_type, const char *text);
void mh_free(struct mh_response *response);

/* A growing text. */
struct mh_text {
    char *data;
    size_t len, cap;
};
void mh_add(struct mh_text *text, const char *data, size_t len);
void mh_adds(struct mh_text *text, const char *string);

#endif
