/* memory.c - see memory.h. */
#include "script/memory.h"

#include "script/vm.h"

#include <lauxlib.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

/* Memory of malloc()'s. */
struct loan {
    struct list_node node;
    size_t size;
    alignas(max_align_t) char bytes[];
};

static bool may_refuse(const struct memory *memory)
{
    const struct vm *vm = container_of(memory, struct vm, memory);

    return !memory->is_telling &&
           (vm->current != NULL || memory->n_protected > 0);
}

static struct loan *find(const struct memory *memory, const void *block)
{
    list_each (node, &memory->loans) {
        struct loan *loan = container_of(node, struct loan, node);

        if (loan->bytes == block)
            return loan;
    }
    return NULL;
}

static void give_back(struct memory *memory, struct loan *loan)
{
    list_remove(&memory->loans, &loan->node);
    memory->lent_bytes -= loan->size;
    free(loan);
}

static void *borrow(struct memory *memory, size_t size)
{
    struct loan *loan = malloc(sizeof(*loan) + size);

    if (loan == NULL)
        return NULL;
    loan->node = (struct list_node){ 0 };
    loan->size = size;
    memory->lent_bytes += size;
    list_push_back(&memory->loans, &loan->node);
    return loan->bytes;
}

/* A block moves into a loan. */
static void *grow_into_loan(struct memory *memory, void *block, size_t old_size,
                            size_t size)
{
    void *bytes = borrow(memory, size);

    if (bytes == NULL || block == NULL)
        return bytes;
    memcpy(bytes, block, old_size < size ? old_size : size);
    memory->allocate(memory->ud, block, old_size, 0);
    return bytes;
}

static void *allocate(void *ud, void *block, size_t old_size, size_t size);

/* It may not fail when it shrinks; when it grows it is the host's, if it can.
 */
static void *resize_loan(struct memory *memory, struct loan *loan, size_t size)
{
    void *block;

    if (size > 0 && size <= loan->size)
        return loan->bytes;
    block = size > 0 ? allocate(memory, NULL, 0, size) : NULL;
    if (block != NULL)
        memcpy(block, loan->bytes, loan->size);
    if (block != NULL || size == 0)
        give_back(memory, loan);
    return block;
}

/* A lua_Alloc. */
static void *allocate(void *ud, void *block, size_t old_size, size_t size)
{
    struct memory *memory = ud;
    struct loan *loan = NULL;
    void *bytes;

    if (memory->loans.len > 0 && block != NULL)
        loan = find(memory, block);
    if (loan != NULL)
        return resize_loan(memory, loan, size);
    bytes = memory->allocate(memory->ud, block, old_size, size);
    if (bytes != NULL || size == 0 || may_refuse(memory))
        return bytes;
    return grow_into_loan(memory, block, old_size, size);
}

lua_State *memory_new_state(struct vm *vm)
{
    struct memory *memory = &vm->memory;
    lua_State *L;

    memory->allocate = vm->options.allocate;
    memory->ud = vm->options.allocate_ud;
    list_init(&memory->loans);
    if (memory->allocate == NULL)
        return luaL_newstate();
    memory->n_protected++;
    L = lua_newstate(allocate, memory);
    memory->n_protected--;
    return L;
}

int memory_protect(struct vm *vm, lua_CFunction fn, void *ud)
{
    int status;

    vm->memory.n_protected++;
    status = lua_cpcall(vm->L, fn, ud);
    vm->memory.n_protected--;
    return status;
}

void memory_look(struct vm *vm)
{
    struct memory *memory = &vm->memory;
    bool is_short = memory->loans.len > 0;

    if (is_short && !memory->is_short)
        log_event(&vm->log, LOG_WARN,
                  "the host has no memory for Lua: what tasks must be told is "
                  "in that of malloc()",
                  LOG_INT("bytes", memory->lent_bytes));
    memory->is_short = is_short;
}
