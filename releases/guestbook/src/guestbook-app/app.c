/* guestbook-app ADDRESS PORT STORE-HOST STORE-PORT TITLE NAME: the pages of the guestbook.
 *
 *   GET  /          the page with the entries and a form
 *   GET  /entries   the entries as text
 *   POST /entries   adds an entry: the body as it is, or the field "entry" of a form
 *   GET  /whoami    the name of this instance
 *   GET  /healthz   200 when the store answers, 503 when not or while draining */
#include "minihttp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct app {
    const char *store_host;
    int store_port;
    const char *title;
    const char *name;
};

static int ask_store(const struct app *app, const char *method, const char *path, const char *body, size_t body_len,
                     struct mh_response *response) {
    struct mh_request request = {.body = (char *)body, .body_len = body_len};
    snprintf(request.method, sizeof request.method, "%s", method);
    snprintf(request.path, sizeof request.path, "%s", path);
    return mh_call(app->store_host, app->store_port, &request, 5000, response);
}

static void add_escaped(struct mh_text *out, const char *data, size_t len) {
    for (size_t i = 0; i < len; i++) {
        switch (data[i]) {
        case '<': mh_adds(out, "&lt;"); break;
        case '>': mh_adds(out, "&gt;"); break;
        case '&': mh_adds(out, "&amp;"); break;
        case '"': mh_adds(out, "&quot;"); break;
        default: mh_add(out, data + i, 1);
        }
    }
}

static int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The value of the field "entry" of a form body. */
static void form_entry(const char *body, struct mh_text *out) {
    const char *at = strncmp(body, "entry=", 6) == 0 ? body + 6 : strstr(body, "&entry=");
    if (!at) return;
    if (*at == '&') at += 7;
    for (; *at && *at != '&'; at++) {
        char c = *at == '+' ? ' ' : *at;
        if (c == '%' && at[1] && hex(at[1]) >= 0 && hex(at[2]) >= 0) {
            c = (char)(hex(at[1]) * 16 + hex(at[2]));
            at += 2;
        }
        mh_add(out, &c, 1);
    }
}

static void page(const struct app *app, struct mh_response *response) {
    struct mh_response stored;
    if (ask_store(app, "GET", "/entries", NULL, 0, &stored) < 0) {
        mh_reply(response, 503, "text/plain", "the store does not answer\n");
        return;
    }
    struct mh_text out = {0};
    mh_adds(&out, "<!doctype html><meta charset=\"utf-8\"><title>");
    add_escaped(&out, app->title, strlen(app->title));
    mh_adds(&out, "</title><h1>");
    add_escaped(&out, app->title, strlen(app->title));
    mh_adds(&out, "</h1><form method=\"post\" action=\"/entries\"><input name=\"entry\" autofocus> <button>Sign</button></form><ul>");
    for (char *line = stored.body; line && *line;) {
        size_t len = strcspn(line, "\n");
        mh_adds(&out, "<li>");
        add_escaped(&out, line, len);
        line += len + (line[len] == '\n');
    }
    mh_adds(&out, "</ul><p>served by ");
    add_escaped(&out, app->name, strlen(app->name));
    mh_adds(&out, "</p>\n");
    mh_reply(response, 200, "text/html; charset=utf-8", out.data);
    free(out.data);
    mh_free(&stored);
}

static void sign(const struct app *app, const struct mh_request *request, struct mh_response *response) {
    struct mh_response stored;
    struct mh_text entry = {0};
    int form = strncmp(request->content_type, "application/x-www-form-urlencoded", 33) == 0 &&
               strstr(request->body, "entry=") != NULL;
    if (form)
        form_entry(request->body, &entry);
    else
        mh_add(&entry, request->body, request->body_len);
    if (ask_store(app, "POST", "/entries", entry.data ? entry.data : "", entry.len, &stored) < 0) {
        mh_reply(response, 503, "text/plain", "the store does not answer\n");
    } else {
        mh_reply(response, stored.status, "text/plain", stored.body);
        if (form && stored.status == 201) {
            /* Back to the page, so that a reload does not sign again. */
            response->status = 303;
            snprintf(response->location, sizeof response->location, "/");
        }
        mh_free(&stored);
    }
    free(entry.data);
}

static void handle(const struct mh_request *request, struct mh_response *response, void *context) {
    const struct app *app = context;
    struct mh_response stored;
    int get = strcmp(request->method, "GET") == 0;
    if (get && strcmp(request->path, "/") == 0) {
        page(app, response);
    } else if (get && strcmp(request->path, "/whoami") == 0) {
        struct mh_text out = {0};
        mh_adds(&out, app->name);
        mh_adds(&out, "\n");
        mh_reply(response, 200, "text/plain", out.data);
        free(out.data);
    } else if (get && strcmp(request->path, "/healthz") == 0) {
        if (mh_draining()) {
            mh_reply(response, 503, "text/plain", "draining\n");
        } else if (ask_store(app, "GET", "/healthz", NULL, 0, &stored) < 0) {
            mh_reply(response, 503, "text/plain", "the store does not answer\n");
        } else {
            mh_reply(response, stored.status == 200 ? 200 : 503, "text/plain", stored.body);
            mh_free(&stored);
        }
    } else if (get && strcmp(request->path, "/entries") == 0) {
        if (ask_store(app, "GET", "/entries", NULL, 0, &stored) < 0) {
            mh_reply(response, 503, "text/plain", "the store does not answer\n");
        } else {
            mh_reply(response, stored.status, "text/plain; charset=utf-8", stored.body);
            mh_free(&stored);
        }
    } else if (strcmp(request->method, "POST") == 0 && strcmp(request->path, "/entries") == 0) {
        sign(app, request, response);
    } else {
        mh_reply(response, 404, "text/plain", "no such page; try /\n");
    }
}

int main(int argc, char **argv) {
    if (argc != 7) {
        fprintf(stderr, "usage: %s ADDRESS PORT STORE-HOST STORE-PORT TITLE NAME\n", argv[0]);
        return 2;
    }
    struct app app = {argv[3], atoi(argv[4]), argv[5], argv[6]};
    printf("guestbook-app: %s serving on %s:%s, store %s:%s\n", argv[6], argv[1], argv[2], argv[3], argv[4]);
    fflush(stdout);
    if (mh_serve(argv[1], atoi(argv[2]), handle, &app) < 0) {
        fprintf(stderr, "guestbook-app: can't listen on %s:%s: %s\n", argv[1], argv[2], strerror(errno));
        return 1;
    }
    printf("guestbook-app: ended\n");
    return 0;
}
