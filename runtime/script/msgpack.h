/* msgpack.h - Lua values as MessagePack, and back. */
#ifndef TIDEPOOL_SCRIPT_MSGPACK_H
#define TIDEPOOL_SCRIPT_MSGPACK_H

#include "script/vm.h"

/* Of what nests: both ways. */
enum { MSGPACK_DEPTH_MAX = 100 };

/* How values begin, by github.com/msgpack/msgpack, spec.md.  Those of 8 to 64
 * bits follow one another. */
enum msgpack_tag {
    MSGPACK_FIX_MAP = 0x80,
    MSGPACK_FIX_ARRAY = 0x90,
    MSGPACK_FIX_TEXT = 0xa0,
    MSGPACK_NIL = 0xc0,
    MSGPACK_NEVER = 0xc1,
    MSGPACK_FALSE_TAG = 0xc2,
    MSGPACK_TRUE_TAG = 0xc3,
    MSGPACK_BYTES_8 = 0xc4,
    MSGPACK_BYTES_32 = 0xc6,
    MSGPACK_EXTENSION_8 = 0xc7,
    MSGPACK_EXTENSION_32 = 0xc9,
    MSGPACK_FLOAT_32 = 0xca,
    MSGPACK_FLOAT_64 = 0xcb,
    MSGPACK_UNSIGNED_8 = 0xcc,
    MSGPACK_UNSIGNED_64 = 0xcf,
    MSGPACK_SIGNED_8 = 0xd0,
    MSGPACK_SIGNED_64 = 0xd3,
    MSGPACK_FIX_EXTENSION = 0xd4,
    MSGPACK_TEXT_8 = 0xd9,
    MSGPACK_TEXT_32 = 0xdb,
    MSGPACK_ARRAY_16 = 0xdc,
    MSGPACK_ARRAY_32 = 0xdd,
    MSGPACK_MAP_16 = 0xde,
    MSGPACK_MAP_32 = 0xdf,
    MSGPACK_NEGATIVE = 0xe0
};

/*
 * Appends the value at index, which may hold rows.  Texts that are UTF-8 are
 * str, others and tide.bytes bin; a table is an array by the rules of JSON, or
 * as a tide.array.  Returns NULL, or a sentence that says what cannot be
 * written; raises when Lua has no memory.
 */
const char *msgpack_put_value(lua_State *L, int index, struct buf *out);

/*
 * Pushes the one value that bytes hold; nil is tide.null, a whole number beyond
 * 2^53 its digits.  The bytes may be hostile: nothing is allocated by a length
 * that they do not back.  Returns NULL; or a sentence on what begins at *at,
 * with anything on the stack.
 */
const char *msgpack_push_value(lua_State *L, const char *bytes, size_t len,
                               size_t *at);

#endif
