#define _GNU_SOURCE
#include "minihttp.h"

#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static atomic_int draining, ending, open_connections;

struct server {
    mh_handler handler;
    void *context;
};

struct connection {
    int fd;
    struct server server;
};

int mh_draining(void) { return atomic_load(&draining); }

void mh_add(struct mh_text *text, const char *data, size_t len) {
    if (text->len + len + 1 > text->cap) {
        size_t cap = text->cap ? text->cap : 256;
        while (cap < text->len + len + 1) cap *= 2;
        char *grown = realloc(text->data, cap);
        if (!grown) abort();
        text->data = grown;
        text->cap = cap;
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
    text->data[text->len] = 0;
}

void mh_adds(struct mh_text *text, const char *string) { mh_add(text, string, strlen(string)); }

void mh_free(struct mh_response *response) {
    free(response->body);
    response->body = NULL;
    response->body_len = 0;
}

void mh_reply(struct mh_response *response, int status, const char *content_type, const char *text) {
    free(response->body);
    response->status = status;
    snprintf(response->content_type, sizeof response->content_type, "%s", content_type);
    response->body = strdup(text);
    response->body_len = strlen(text);
}

static const char *reason(int status) {
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 303: return "See Other";
    case 400: return "Bad Request";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 413: return "Content Too Large";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    default: return "Status";
    }
}

static int send_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return -1;
        data += sent;
        len -= (size_t)sent;
    }
    return 0;
}

static void set_timeout(int fd, int ms) {
    struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

/* Reads up to the blank line behind the headers, and whatever of the body came along. Returns the offset of the
 * body, or -1. */
static ssize_t read_head(int fd, struct mh_text *in) {
    char buffer[4096];
    for (;;) {
        char *end = in->data ? memmem(in->data, in->len, "\r\n\r\n", 4) : NULL;
        if (end) return end - in->data + 4;
        if (in->len > MH_MAX_HEAD) return -1;
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        mh_add(in, buffer, (size_t)got);
    }
}

/* Copies the value of a header into out (empty when absent). */
static void header(const char *head, size_t len, const char *name, char *out, size_t out_len) {
    size_t name_len = strlen(name);
    const char *line = memchr(head, '\n', len);
    const char *end = head + len;
    out[0] = 0;
    while (line && ++line < end) {
        if ((size_t)(end - line) > name_len && strncasecmp(line, name, name_len) == 0 && line[name_len] == ':') {
            const char *value = line + name_len + 1;
            while (value < end && *value == ' ') value++;
            size_t n = 0;
            while (value + n < end && value[n] != '\r' && value[n] != '\n' && n + 1 < out_len) n++;
            memcpy(out, value, n);
            out[n] = 0;
            return;
        }
        line = memchr(line, '\n', (size_t)(end - line));
    }
}

/* Reads the rest of a body. Returns 0, or -1 when the peer hung up or the body is too long (errno EMSGSIZE). */
static int read_body(int fd, struct mh_text *in, size_t from, size_t want) {
    char buffer[4096];
    if (want > MH_MAX_BODY) {
        errno = EMSGSIZE;
        return -1;
    }
    while (in->len < from + want) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return -1;
        mh_add(in, buffer, (size_t)got);
    }
    return 0;
}

static void answer(int fd, const struct mh_response *response) {
    struct mh_text out = {0};
    char line[1024];
    snprintf(line, sizeof line, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\nConnection: close\r\n", response->status,
             reason(response->status), response->body_len);
    mh_adds(&out, line);
    if (response->content_type[0]) {
        snprintf(line, sizeof line, "Content-Type: %s\r\n", response->content_type);
        mh_adds(&out, line);
    }
    if (response->location[0]) {
        snprintf(line, sizeof line, "Location: %s\r\n", response->location);
        mh_adds(&out, line);
    }
    mh_adds(&out, "\r\n");
    if (response->body) mh_add(&out, response->body, response->body_len);
    send_all(fd, out.data, out.len);
    free(out.data);
}

static void serve_connection(int fd, const struct server *server) {
    struct mh_text in = {0};
    struct mh_request request = {0};
    struct mh_response response = {0};
    char length[32];

    ssize_t body = read_head(fd, &in);
    if (body < 0 || sscanf(in.data, "%15s %1023s", request.method, request.path) != 2) {
        mh_reply(&response, 400, "text/plain", "this is not an HTTP request\n");
    } else {
        header(in.data, (size_t)body, "Content-Length", length, sizeof length);
        header(in.data, (size_t)body, "Content-Type", request.content_type, sizeof request.content_type);
        size_t want = strtoul(length, NULL, 10);
        if (read_body(fd, &in, (size_t)body, want) < 0) {
            if (errno == EMSGSIZE)
                mh_reply(&response, 413, "text/plain", "the body is too long\n");
            else
                mh_reply(&response, 400, "text/plain", "the body is shorter than its Content-Length\n");
        } else {
            request.body = in.data + body;
            request.body_len = want;
            request.body[want] = 0;
            server->handler(&request, &response, server->context);
        }
    }
    answer(fd, &response);
    mh_free(&response);
    free(in.data);
}

static void *connection_main(void *argument) {
    struct connection *connection = argument;
    serve_connection(connection->fd, &connection->server);
    close(connection->fd);
    free(connection);
    atomic_fetch_sub(&open_connections, 1);
    return NULL;
}

static void on_signal(int signal) {
    if (signal == SIGUSR1)
        atomic_store(&draining, 1);
    else
        atomic_store(&ending, 1);
}

static int listen_on(const char *address, int port) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    char service[16];
    int one = 1;
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(address, service, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 128) < 0) {
            int why = errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

int mh_serve(const char *address, int port, mh_handler handler, void *context) {
    /* Without SA_RESTART, so that a signal ends the wait in accept. */
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t signals, before;
    pthread_attr_t detached;

    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGUSR1);

    int fd = listen_on(address, port);
    if (fd < 0) return -1;
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);

    while (!atomic_load(&ending)) {
        /* The wait is bounded: a signal that comes just before accept would not interrupt it. */
        set_timeout(fd, 500);
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0) continue;
        set_timeout(peer, 10000);
        struct connection *connection = malloc(sizeof *connection);
        pthread_t thread;
        if (!connection) {
            close(peer);
            continue;
        }
        connection->fd = peer;
        connection->server = (struct server){handler, context};
        atomic_fetch_add(&open_connections, 1);
        /* Signals are for the main thread. */
        pthread_sigmask(SIG_BLOCK, &signals, &before);
        int failed = pthread_create(&thread, &detached, connection_main, connection);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        if (failed) {
            atomic_fetch_sub(&open_connections, 1);
            close(peer);
            free(connection);
        }
    }
    close(fd);
    for (int i = 0; i < 1000 && atomic_load(&open_connections) > 0; i++) usleep(10000);
    return 0;
}

static int connect_to(const char *host, int port, int timeout_ms) {
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *found;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    if (getaddrinfo(host, service, &hints, &found) != 0) {
        errno = EHOSTUNREACH;
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next) {
        fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0) continue;
        set_timeout(fd, timeout_ms);
        if (connect(fd, at->ai_addr, at->ai_addrlen) < 0) {
            int why = errno;
            close(fd);
            errno = why;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

int mh_call(const char *host, int port, const struct mh_request *request, int timeout_ms, struct mh_response *response) {
    struct mh_text out = {0}, in = {0};
    char line[2048], length[32];
    int result = -1;

    memset(response, 0, sizeof *response);
    int fd = connect_to(host, port, timeout_ms);
    if (fd < 0) return -1;
    snprintf(line, sizeof line, "%s %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %zu\r\nConnection: close\r\n",
             request->method, request->path, host, port, request->body_len);
    mh_adds(&out, line);
    if (request->content_type[0]) {
        snprintf(line, sizeof line, "Content-Type: %s\r\n", request->content_type);
        mh_adds(&out, line);
    }
    mh_adds(&out, "\r\n");
    if (request->body_len) mh_add(&out, request->body, request->body_len);

    ssize_t body;
    if (send_all(fd, out.data, out.len) == 0 && (body = read_head(fd, &in)) > 0 &&
        sscanf(in.data, "HTTP/1.%*d %d", &response->status) == 1) {
        header(in.data, (size_t)body, "Content-Length", length, sizeof length);
        header(in.data, (size_t)body, "Content-Type", response->content_type, sizeof response->content_type);
        header(in.data, (size_t)body, "Location", response->location, sizeof response->location);
        size_t want = strtoul(length, NULL, 10);
        /* Answers may be longer than requests: a guestbook grows. */
        char buffer[4096];
        ssize_t got = 1;
        while (in.len < (size_t)body + want && (got = recv(fd, buffer, sizeof buffer, 0)) > 0)
            mh_add(&in, buffer, (size_t)got);
        if (in.len >= (size_t)body + want) {
            response->body = malloc(want + 1);
            if (!response->body) abort();
            memcpy(response->body, in.data + body, want);
            response->body[want] = 0;
            response->body_len = want;
            result = 0;
        }
    }
    if (result < 0 && errno == 0) errno = EPROTO;
    close(fd);
    free(out.data);
    free(in.data);
    return result;
}
