/* secret.c - see secret.h. */
#include "net/secret.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <sys/random.h>

enum err secret_random(uint8_t *bytes, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = getrandom(bytes + done, len - done, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return ERR_INTERNAL;
        done += (size_t)got;
    }
    return ERR_OK;
}

enum err secret_hash(uint8_t hash[SECRET_HASH_LEN], const void *text,
                     size_t len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned digest_len;

    if (EVP_Digest(text, len, digest, &digest_len, EVP_sha256(), NULL) != 1)
        return ERR_NOMEM;
    assert(digest_len == SECRET_HASH_LEN);
    for (size_t i = 0; i < SECRET_HASH_LEN; i++)
        hash[i] = digest[i];
    return ERR_OK;
}

void secret_put_hex(char *out, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}
