/* Where the arrays of a run lie. The greatest is placed first, each in the lowest gap that is free while it is needed:
 * "greedy by size" of Pisarchyk and Lee, 2020 (https://arxiv.org/abs/2001.03288). */
#include "kernels.h"

#define ALIGNMENT 64

uint64_t sp_plan_memory(struct buffer *buffers, uint32_t *order, uint32_t count)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = i;
        for (; place > 0 && buffers[order[place - 1]].bytes < buffers[i].bytes; place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    /* The first `placed` of `order` have their place, and stand there by offset. */
    for (uint32_t placed = 0; placed < count; placed++) {
        uint32_t next = order[placed];
        struct buffer *own = &buffers[next];
        uint64_t bytes = (own->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        uint64_t gap = 0;
        for (uint32_t i = 0; i < placed; i++) {
            const struct buffer *other = &buffers[order[i]];
            if (other->last < own->first || own->last < other->first)
                continue;
            if (other->offset >= gap + bytes)
                break;
            uint64_t end = other->offset + (other->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
            if (end > gap)
                gap = end;
        }
        own->offset = gap;
        if (gap + bytes > total)
            total = gap + bytes;
        uint32_t place = placed;
        for (; place > 0 && buffers[order[place - 1]].offset > gap; place--)
            order[place] = order[place - 1];
        order[place] = next;
    }
    return total;
}
