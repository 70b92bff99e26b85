/* url.c - see url.h. */
#include "redis/url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>

enum { SOCKET_PATH_MAX = 107 }; /* sun_path without its zero */

static enum err refuse(struct err_text *why, const char *sentence)
{
    err_text_set(why, "redis url: %s", sentence);
    return ERR_BADARG;
}

/* Ends text at the first c in it; returns what follows, or NULL. */
static char *cut(char *text, char c)
{
    char *at = strchr(text, c);

    if (at == NULL)
        return NULL;
    *at = '\0';
    return at + 1;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* In place; false for a broken escape and for a zero byte. */
static bool decode(char *text)
{
    char *out = text;

    for (const char *in = text; *in != '\0'; in++) {
        int value = (unsigned char)*in;

        if (value == '%') {
            int high = hex_value(in[1]);
            int low = high < 0 ? -1 : hex_value(in[2]);

            if (low < 0 || high + low == 0)
                return false;
            value = high * 16 + low;
            in += 2;
        }
        *out++ = (char)value;
    }
    *out = '\0';
    return true;
}

static bool read_number(const char *text, uint32_t max, unsigned *out)
{
    uint64_t value = 0;

    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (!isdigit((unsigned char)*text))
            return false;
        value = value * 10 + (uint64_t)(*text - '0');
        if (value > max)
            return false;
    }
    *out = (unsigned)value;
    return true;
}

static enum err read_db(struct redis_target *target, const char *text,
                        struct err_text *why)
{
    if (!read_number(text, INT32_MAX, &target->db))
        return refuse(why, "the database is not a number");
    return ERR_OK;
}

static enum err read_credentials(struct redis_target *target, char *text,
                                 struct err_text *why)
{
    char *password = cut(text, ':');

    if (!decode(text) || (password != NULL && !decode(password)))
        return refuse(why, "a '%' in the user or password is not followed by "
                           "two hexadecimal digits (write %25 for '%')");
    if (*text != '\0')
        target->user = text;
    if (password != NULL && (*password != '\0' || target->user != NULL))
        target->password = password;
    return ERR_OK;
}

static enum err read_host(struct redis_target *target, char *text,
                          struct err_text *why)
{
    char *port;
    unsigned number;

    if (*text == '[') {
        target->host = text + 1;
        port = cut(text, ']');
        if (port == NULL || (*port != '\0' && *port != ':'))
            return refuse(why, "the address in brackets has no end");
        port = *port == ':' ? port + 1 : NULL;
    } else {
        port = cut(text, ':');
        if (port != NULL && strchr(port, ':') != NULL)
            return refuse(why, "an IPv6 address stands in brackets: [::1]");
        if (*text != '\0')
            target->host = text;
    }
    if (port == NULL || *port == '\0')
        return ERR_OK;
    if (!read_number(port, UINT16_MAX, &number) || number == 0)
        return refuse(why, "the port is not a number from 1 to 65535 (in a "
                           "password, write %2F for '/' and %3F for '?')");
    target->port = port;
    return ERR_OK;
}

static enum err read_tcp(struct redis_target *target, char *rest,
                         struct err_text *why)
{
    char *db = cut(rest, '/');
    char *at = strrchr(rest, '@');
    enum err err = ERR_OK;

    target->host = "127.0.0.1";
    target->port = "6379";
    if (at != NULL) {
        *at = '\0';
        err = read_credentials(target, rest, why);
        rest = at + 1;
    }
    if (err == ERR_OK)
        err = read_host(target, rest, why);
    if (err == ERR_OK && db != NULL && *db != '\0')
        err = read_db(target, db, why);
    return err;
}

static enum err read_unix(struct redis_target *target, char *rest,
                          struct err_text *why)
{
    char *slash = strchr(rest, '/');

    if (slash != NULL && slash > rest && slash[-1] == '@') {
        enum err err;

        slash[-1] = '\0';
        err = read_credentials(target, rest, why);
        if (err != ERR_OK)
            return err;
        rest = slash;
    }
    if (*rest != '/')
        return refuse(why, "the socket's path is absolute: "
                           "unix:///run/redis.sock");
    if (!decode(rest))
        return refuse(why, "a '%' in the path is not followed by two "
                           "hexadecimal digits");
    if (strlen(rest) > SOCKET_PATH_MAX)
        return refuse(why, "the socket's path is longer than 107 bytes");
    target->path = rest;
    return ERR_OK;
}

/* name: of the parameter. */
static enum err read_text(const char *name, const char **out, char *value,
                          struct err_text *why)
{
    if (!decode(value)) {
        err_text_set(why,
                     "redis url: a '%%' in %s is not followed by two "
                     "hexadecimal digits",
                     name);
        return ERR_BADARG;
    }
    *out = value;
    return ERR_OK;
}

static enum err read_protocol(struct redis_target *target, const char *text,
                              struct err_text *why)
{
    if (strcmp(text, "2") != 0 && strcmp(text, "3") != 0)
        return refuse(why, "protocol is 2 or 3");
    target->protocol = *text == '3' ? 3 : 2;
#ifndef REDIS_REPLY_MAP
    if (target->protocol == 3) {
        err_text_set(why,
                     "redis url: protocol=3 needs hiredis 1.0 or later, and "
                     "this was built with %d.%d",
                     HIREDIS_MAJOR, HIREDIS_MINOR);
        return ERR_BADARG;
    }
#endif
    return ERR_OK;
}

/* What only rediss:// has; false for another name. */
static bool find_tls_text(struct redis_target *target, const char *name,
                          const char ***out)
{
    if (strcmp(name, "cacert") == 0)
        *out = &target->tls.ca;
    else if (strcmp(name, "cert") == 0)
        *out = &target->tls.pair.certificate;
    else if (strcmp(name, "key") == 0)
        *out = &target->tls.pair.key;
    else
        return false;
    return target->is_tls;
}

static enum err read_parameter(struct redis_target *target, char *text,
                               struct err_text *why)
{
    char *value = cut(text, '=');
    const char **file;

    if (value != NULL && strcmp(text, "db") == 0)
        return read_db(target, value, why);
    if (value != NULL && strcmp(text, "client_name") == 0)
        return read_text(text, &target->client_name, value, why);
    if (value != NULL && strcmp(text, "protocol") == 0)
        return read_protocol(target, value, why);
    if (value != NULL && find_tls_text(target, text, &file))
        return read_text(text, file, value, why);
    if (value != NULL && target->is_tls && strcmp(text, "insecure") == 0) {
        target->tls.is_insecure = strcmp(value, "true") == 0;
        if (target->tls.is_insecure || strcmp(value, "false") == 0)
            return ERR_OK;
        return refuse(why, "insecure is true or false");
    }
    return refuse(why, "the parameters after '?' are db=NUMBER, "
                       "client_name=TEXT, protocol=2 or 3, and with rediss:// "
                       "cacert=FILE, cert=FILE, key=FILE, insecure=true");
}

static enum err read_query(struct redis_target *target, char *query,
                           struct err_text *why)
{
    while (query != NULL && *query != '\0') {
        char *next = cut(query, '&');
        enum err err = read_parameter(target, query, why);

        if (err != ERR_OK)
            return err;
        query = next;
    }
    return ERR_OK;
}

static char *after_scheme(char *url, const char *scheme)
{
    size_t len = strlen(scheme);

    return strncmp(url, scheme, len) == 0 ? url + len : NULL;
}

static enum err read_url(struct redis_target *target, char *url,
                         struct err_text *why)
{
    char *rest, *query;
    bool is_unix = false;
    enum err err;

    rest = after_scheme(url, "redis://");
    if (rest == NULL) {
        rest = after_scheme(url, "rediss://");
        target->is_tls = rest != NULL;
    }
    if (rest == NULL) {
        is_unix = true;
        rest = after_scheme(url, "unix://");
    }
    if (rest == NULL)
        rest = after_scheme(url, "redis+unix://");
    if (rest == NULL)
        return refuse(why, "it begins with redis://, rediss:// or unix://");
    query = cut(rest, '?');
    err = is_unix ? read_unix(target, rest, why) : read_tcp(target, rest, why);
    if (err == ERR_OK)
        err = read_query(target, query, why);
    if (err == ERR_OK && (target->tls.pair.certificate == NULL) !=
                             (target->tls.pair.key == NULL))
        return refuse(why, "cert and key are given together");
    return err;
}

enum err redis_target_parse(struct redis_target *out, const char *url,
                            struct err_text *why)
{
    struct redis_target target = { .protocol = 2 };
    size_t size = strlen(url) + 1;
    enum err err;

    target.storage = malloc(size);
    if (target.storage == NULL)
        return ERR_NOMEM;
    memcpy(target.storage, url, size);
    err = read_url(&target, target.storage, why);
    if (err != ERR_OK) {
        redis_target_free(&target);
        return err;
    }
    *out = target;
    return ERR_OK;
}

void redis_target_free(struct redis_target *target)
{
    free(target->storage);
    *target = (struct redis_target){ 0 };
}
