/* address.c - see address.h. */
#include "pg/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* A value that no sslmode has, see probe(). */
static const char no_sslmode[] = "tidepool-reads-options";

/* The item at index of a comma list; false behind the last. */
static bool list_item(const char *list, unsigned index, const char **item,
                      size_t *len)
{
    while (index-- > 0) {
        list = strchr(list, ',');
        if (list == NULL)
            return false;
        list++;
    }
    *item = list;
    *len = strcspn(list, ",");
    return true;
}

static unsigned list_count(const char *list)
{
    unsigned count = 1;

    for (; *list != '\0'; list++)
        count += *list == ',';
    return count;
}

static const char *option_value(const PQconninfoOption *options,
                                const char *keyword)
{
    for (; options->keyword != NULL; options++)
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL ? options->val : "";
    return "";
}

/* Copies item index of list into *at. */
static const char *copy_item(char **at, const char *list, unsigned index,
                             const char *otherwise)
{
    const char *item = otherwise;
    size_t len;
    char *copy = *at;

    if (!list_item(list, index, &item, &len) || len == 0) {
        item = otherwise;
        len = strlen(otherwise);
    }
    memcpy(copy, item, len);
    copy[len] = '\0';
    *at = copy + len + 1;
    return copy;
}

static enum err read_hosts(struct address_book *book,
                           const PQconninfoOption *options,
                           struct err_text *why)
{
    static const char port_default[] = "5432";
    const char *hosts = option_value(options, "host");
    const char *hostaddrs = option_value(options, "hostaddr");
    const char *ports = option_value(options, "port");
    unsigned count = list_count(hostaddrs[0] != '\0' ? hostaddrs : hosts);
    size_t size = strlen(hosts) + strlen(hostaddrs) + (size_t)2 * count;
    bool has_one_port = list_count(ports) == 1;
    char *at;

    if (count > POOL_ADDRESSES_MAX) {
        err_text_set(why, "the url names %u hosts, %d are the most", count,
                     POOL_ADDRESSES_MAX);
        return ERR_BADARG;
    }
    size += count * (strlen(ports) + sizeof(port_default));
    at = book->texts = malloc(size);
    if (at == NULL)
        return ERR_NOMEM;
    for (unsigned i = 0; i < count; i++)
        book->list[i] = (struct address){
            .host = copy_item(&at, hosts, i, ""),
            .hostaddr = copy_item(&at, hostaddrs, i, ""),
            .port = copy_item(&at, ports, has_one_port ? 0 : i, port_default),
        };
    book->count = count;
    book->has_hostaddr = hostaddrs[0] != '\0';
    return ERR_OK;
}

static void read_options(struct address_book *book,
                         const PQconninfoOption *options)
{
    book->is_ordered =
        strcmp(option_value(options, "target_session_attrs"),
               "prefer-standby") != 0 &&
        strcmp(option_value(options, "load_balance_hosts"), "random") != 0;
    book->has_keepalives =
        option_value(options, "keepalives")[0] == '0' ||
        option_value(options, "keepalives_idle")[0] != '\0' ||
        option_value(options, "keepalives_interval")[0] != '\0' ||
        option_value(options, "keepalives_count")[0] != '\0';
    book->has_user_timeout =
        option_value(options, "tcp_user_timeout")[0] != '\0';
}

/*
 * Asks libpq for all options of the url with those of the environment and of
 * the service file, which it merges only when it connects: so it is told to
 * connect in a way that it refuses before it contacts anybody.
 */
static enum err probe(struct address_book *book, struct err_text *why)
{
    const char *const keywords[] = { "dbname", "sslmode", NULL };
    const char *const values[] = { book->url, no_sslmode, NULL };
    PGconn *pq = PQconnectStartParams(keywords, values, 1);
    PQconninfoOption *options = pq != NULL ? PQconninfo(pq) : NULL;
    enum err err = ERR_NOMEM;

    if (options == NULL)
        goto done;
    if (strstr(PQerrorMessage(pq), no_sslmode) == NULL) {
        err = ERR_BADARG;
        err_text_set(why, "%s", PQerrorMessage(pq));
        goto done;
    }
    err = read_hosts(book, options, why);
    if (err == ERR_OK)
        read_options(book, options);

done:
    PQconninfoFree(options);
    PQfinish(pq);
    return err;
}

/* libpq says what it cannot read in the url. */
static enum err check_url(const char *url, struct err_text *why)
{
    char *words = NULL;
    PQconninfoOption *options = PQconninfoParse(url, &words);

    if (options != NULL) {
        PQconninfoFree(options);
        return ERR_OK;
    }
    if (words == NULL)
        return ERR_NOMEM;
    err_text_set(why, "%s", words);
    PQfreemem(words);
    return ERR_BADARG;
}

enum err address_book_open(struct address_book *book, const char *url,
                           struct err_text *why)
{
    struct address_book new = { 0 };
    enum err err = check_url(url, why);

    if (err != ERR_OK)
        return err;
    new.url = strdup(url);
    if (new.url == NULL)
        return ERR_NOMEM;
    err = probe(&new, why);
    if (err != ERR_OK) {
        address_book_free(&new);
        return err;
    }
    *book = new;
    return ERR_OK;
}

void address_book_free(struct address_book *book)
{
    free(book->url);
    free(book->texts);
    *book = (struct address_book){ 0 };
}

bool address_needs_lookup(const struct address *address)
{
    struct in6_addr ip;

    return address->hostaddr[0] == '\0' && address->host[0] != '\0' &&
           address->host[0] != '/' && address->host[0] != '@' &&
           inet_pton(AF_INET, address->host, &ip) != 1 &&
           inet_pton(AF_INET6, address->host, &ip) != 1;
}

static bool has_ip(const struct address_ips *ips, const char *text)
{
    for (unsigned i = 0; i < ips->count; i++)
        if (strcmp(ips->text[i], text) == 0)
            return true;
    return false;
}

void address_ips_read(struct address_ips *ips, const struct addrinfo *found)
{
    ips->count = 0;
    for (; found != NULL && ips->count < ADDRESS_IPS_MAX;
         found = found->ai_next) {
        char *text = ips->text[ips->count];

        if (getnameinfo(found->ai_addr, found->ai_addrlen, text, ADDRESS_IP_MAX,
                        NULL, 0, NI_NUMERICHOST) == 0 &&
            !has_ip(ips, text))
            ips->count++;
    }
}

static void add_entry(struct dial_list *list, const struct address *address,
                      unsigned owner, const char *ip)
{
    if (list->count > 0) {
        buf_put_char(&list->host, ',');
        buf_put_char(&list->hostaddr, ',');
        buf_put_char(&list->port, ',');
    }
    buf_put_str(&list->host, address->host);
    buf_put_str(&list->hostaddr, ip);
    buf_put_str(&list->port, address->port);
    list->owners[list->count++] = owner;
}

void dial_list_add(struct dial_list *list, const struct address_book *book,
                   unsigned index, const struct address_ips *ips)
{
    const struct address *address = &book->list[index];

    assert(index < book->count &&
           list->count < POOL_ADDRESSES_MAX * ADDRESS_IPS_MAX);
    if (ips == NULL || ips->count == 0) {
        add_entry(list, address, index, address->hostaddr);
        return;
    }
    for (unsigned i = 0; i < ips->count; i++)
        add_entry(list, address, index, ips->text[i]);
}

enum err dial_list_end(struct dial_list *list)
{
    buf_put_char(&list->host, '\0');
    buf_put_char(&list->hostaddr, '\0');
    buf_put_char(&list->port, '\0');
    if (buf_failed(&list->host) || buf_failed(&list->hostaddr) ||
        buf_failed(&list->port))
        return ERR_NOMEM;
    return ERR_OK;
}

void dial_list_free(struct dial_list *list)
{
    buf_free(&list->host);
    buf_free(&list->hostaddr);
    buf_free(&list->port);
    list->count = 0;
}

static bool item_is(const char *list, unsigned index, const char *text)
{
    const char *item;
    size_t len;

    return list_item(list, index, &item, &len) && strlen(text) == len &&
           memcmp(item, text, len) == 0;
}

unsigned dial_list_find(const struct dial_list *list, const char *host,
                        const char *hostaddr, const char *port)
{
    for (unsigned i = 0; i < list->count; i++) {
        bool has_ip_of_its_own = !item_is(list->hostaddr.data, i, "");

        if (item_is(list->port.data, i, port) &&
            (has_ip_of_its_own ? item_is(list->hostaddr.data, i, hostaddr)
                               : item_is(list->host.data, i, host)))
            return i;
    }
    return list->count;
}
