/*
 * address.h - the servers that a url names, and the lists that libpq is given
 * to dial them.  Private to pg/.
 */
#ifndef TIDEPOOL_PG_ADDRESS_H
#define TIDEPOOL_PG_ADDRESS_H

#include "base/buf.h"
#include "pool/backoff.h"

#include <netdb.h>
#include <stdbool.h>

enum { ADDRESS_IPS_MAX = 8, ADDRESS_IP_MAX = 64 };

/* One configured host; the texts are borrowed from the address_book. */
struct address {
    const char *host;     /* "": libpq's default, a unix socket */
    const char *hostaddr; /* as given, or "" */
    const char *port;     /* never "" */
};

/* What url, environment and service file say, read once. */
struct address_book {
    char *url;
    struct address list[POOL_ADDRESSES_MAX];
    unsigned count;
    bool has_hostaddr;     /* some host came with its own address */
    bool is_ordered;       /* libpq goes from first to last, and once */
    bool has_keepalives;   /* somebody chose keepalives */
    bool has_user_timeout; /* somebody chose tcp_user_timeout */
    char *texts;           /* the memory behind list */
};

/* ERR_BADARG: why has libpq's words.  Reads files, contacts no server. */
enum err address_book_open(struct address_book *book, const char *url,
                           struct err_text *why) MUST_CHECK;
void address_book_free(struct address_book *book);

/* True for a name that has to be looked up before libpq may have it. */
bool address_needs_lookup(const struct address *address);

/* Addresses found for one host, in the order to try them. */
struct address_ips {
    unsigned count;
    char text[ADDRESS_IPS_MAX][ADDRESS_IP_MAX];
};

/* Takes over what a look-up gave; twins and what is over the limit are left
 * out. */
void address_ips_read(struct address_ips *ips, const struct addrinfo *found);

/* libpq's host, hostaddr and port lists; one entry an address. */
struct dial_list {
    struct buf host, hostaddr, port;
    unsigned owners[POOL_ADDRESSES_MAX * ADDRESS_IPS_MAX]; /* in the book */
    unsigned count;
};

/* Adds the book's host at index, once for each of ips (NULL: as it is given).
 * No memory shows in dial_list_end(). */
void dial_list_add(struct dial_list *list, const struct address_book *book,
                   unsigned index, const struct address_ips *ips);
enum err dial_list_end(struct dial_list *list) MUST_CHECK;
void dial_list_free(struct dial_list *list);

/* The first entry with this host, address and port; count when none has. */
unsigned dial_list_find(const struct dial_list *list, const char *host,
                        const char *hostaddr, const char *port);

#endif
