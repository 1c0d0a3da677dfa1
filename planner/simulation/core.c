/* The event loop of engine.py, lane.py, router.py and links.py, word for word in C.

   The Python modules say what the rules are and why; this file says nothing new. Every sum is taken in the same order
   and precision, so that both give the same bytes: tests/simulation/test_core.py holds them against each other over
   thousands of random clusters. Names are those of the Python modules. Requests under way have a slot each, so that
   ten million requests take no more memory than their times.
*/
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

enum { IDLE, PROMPTS, DECODE, PAUSED };
enum { QUEUED, COMPUTING, WAITING, MOVING, DECODING };
enum { BOUNDARY, JOIN, SENT, EARLY, FAIL, REPAIR, SAMPLE };
enum { DONE, PAUSED_AT_ARRIVAL, OUT_OF_MEMORY, PAUSED_AT_EVENT };
#define NONE (-1)
#define HAIR (1.0 + 1e-12)
#define INTEGRALS 6

typedef struct { int32_t *at; int32_t n, room; } Ints;
typedef struct { int32_t *at; int32_t first, n, room; } Deque;
typedef struct { int64_t step, r; int32_t slot; } End;
typedef struct { double t; int64_t number, b; int32_t kind, a; } Event;

/* What Python hands over; the layout is that of core.py. */
typedef struct {
    const double *decode_s, *prompt_s, *mixed_offset_s, *mixed_slope, *together_s, *on_one;
    double context_s, pair_s, extra_prompt_s, spread_pair_s, pairs_per_token;
    int64_t prompt_stride, n_on_one;
} Table;

typedef struct {
    double kv_tokens;
    int64_t max_batch, token_budget, chunk_tokens;
    int32_t pool, machine, table, nic, apart, paged;
} LaneSpec;

typedef struct {
    double bytes_per_token, bandwidth_bytes_per_s, latency_s, setup_s, synchronisation_s;
    int64_t n_layers;
    int32_t overlapped, exists;
} Wire;

typedef struct {
    int64_t overflow_tokens, max_pauses;
    int32_t by_tokens, round_robin, by_memory, overflow, shared_budget, long_prompts_wait, contention, in_turns;
} Policy;

typedef struct {
    int64_t r, joined, moving, early, version, due_number, pushed;
    double since, no_sooner, left_bytes, at_s, most, rate, due_s, last_token;
    int32_t again, prompt, output, prompt_lane, decode_lane, stage, held, sending, end_out, end_in, used, found, order;
} Slot;

typedef struct {
    double first, last_token, since, reserved_since;
    double busy, prompt_time, batch_time, context_time, kv_time;
    int64_t version, steps, step_tokens, done, batch, context, members, pauses, reserved, computed, prompt_tokens;
    int32_t mode, cut_already;
    End *ends; int32_t n_ends, room_ends;
    Deque queue, waiting;
    Ints prompts, joining, fresh, blocked, order;
    int32_t crowded;
    int64_t *gap_steps; double *gaps; int32_t n_gaps, room_gaps;
} Lane;

typedef struct {
    /* given */
    int64_t n_requests;
    const double *arrival_s;
    const int32_t *prompt, *output;
    const uint8_t *skip;
    const int16_t *way_of;
    int32_t n_lanes, n_pools, n_nics, n_ways, n_samples, n_failures;
    const LaneSpec *specs;
    const Table *tables;
    const Wire *wires;
    const int32_t *ways;
    const double *nic_bytes_per_s, *per_sent;
    const double *sample_times;
    const int32_t *failed_machine; /* of one that drains -1 - machine */ const double *failed_at_s, *repaired_s;
    const double *first_due_s, *pause_s, *work_s; int64_t n_clients; /* of a closed loop; arrival_s counts where there is none */
    Policy policy;
    /* filled */
    double *first_token, *finish, *prefill_start;
    float *transfer, *largest_gap;
    double *totals, *sample_s, *samples, *sent_s;
    int64_t n_restarted, n_overflowed, n_waited, n_preempted, n_sampled, r, n_held, totals_known;
    double now;
} Job;

typedef struct {
    Job *job;
    Lane *lanes;
    Slot *slots; int32_t n_slots, room_slots; Ints free_slots;
    Event *heap; int64_t n_heap, room_heap, number;
    Ints *pools, mixed;
    int64_t *pending, *promised, *to_send, *turn;
    double *lost, *loads; Ints ids, both;
    int64_t n_prompt_held, n_decode_held;
    /* links */
    Ints *on; double *capacity, *wanted; int64_t link_version;
    Ints left, found, seen, dirty; uint8_t *is_seen, *is_dirty; double *room; int32_t *users; Ints waiting, order; double *rates;
    int32_t room_rates;
    int sends_early, failed;
    double next_arrival;
    double *due, front_end_free_s; int64_t n_due, room_due; /* a heap of when clients send their next request */
} Sim;

/* -- memory ------------------------------------------------------------------------------------------------------- */

static int grow(Sim *s, void **at, int64_t *room, int64_t wanted, size_t size) {
    if (wanted <= *room) return 1;
    int64_t bigger = *room ? *room * 2 : 8;
    while (bigger < wanted) bigger *= 2;
    void *moved = realloc(*at, (size_t)bigger * size);
    if (!moved) { s->failed = 1; return 0; }
    *at = moved;
    *room = bigger;
    return 1;
}

static int grow32(Sim *s, void **at, int32_t *room, int64_t wanted, size_t size) {
    int64_t r = *room;
    int ok = grow(s, at, &r, wanted, size);
    *room = (int32_t)r;
    return ok;
}

static void push(Sim *s, Ints *v, int32_t x) {
    if (grow32(s, (void **)&v->at, &v->room, (int64_t)v->n + 1, sizeof(int32_t))) v->at[v->n++] = x;
}

static void take_out(Ints *v, int32_t x) {
    for (int32_t k = 0; k < v->n; k++)
        if (v->at[k] == x) {
            memmove(v->at + k, v->at + k + 1, (size_t)(v->n - k - 1) * sizeof(int32_t));
            v->n--;
            return;
        }
}

static int holds(const Ints *v, int32_t x) {
    for (int32_t k = 0; k < v->n; k++)
        if (v->at[k] == x) return 1;
    return 0;
}

static int32_t front(const Deque *q) { return q->at[q->first]; }

static void append(Sim *s, Deque *q, int32_t x) {
    if (q->n == q->room) {
        int32_t bigger = q->room ? q->room * 2 : 8;
        int32_t *moved = malloc((size_t)bigger * sizeof(int32_t));
        if (!moved) { s->failed = 1; return; }
        for (int32_t k = 0; k < q->n; k++) moved[k] = q->at[(q->first + k) & (q->room - 1)];
        free(q->at);
        q->at = moved; q->room = bigger; q->first = 0;
    }
    q->at[(q->first + q->n++) & (q->room - 1)] = x;
}

static int32_t popleft(Deque *q) {
    int32_t x = q->at[q->first];
    q->first = (q->first + 1) & (q->room - 1);
    q->n--;
    return x;
}

static void remove_from(Deque *q, int32_t x) {
    int32_t kept = 0, gone = 0;
    for (int32_t k = 0; k < q->n; k++) {
        int32_t y = q->at[(q->first + k) & (q->room - 1)];
        if (y == x && !gone) gone = 1;
        else q->at[(q->first + kept++) & (q->room - 1)] = y;
    }
    q->n = kept;
}

/* -- heaps -------------------------------------------------------------------------------------------------------- */

static int before(const Event *x, const Event *y) { return x->t < y->t || (x->t == y->t && x->number < y->number); }

static void add_event(Sim *s, double t, int64_t number, int32_t kind, int32_t a, int64_t b) {
    if (!grow(s, (void **)&s->heap, &s->room_heap, s->n_heap + 1, sizeof(Event))) return;
    Event e = {t, number, b, kind, a};
    int64_t k = s->n_heap++;
    while (k > 0) {
        int64_t parent = (k - 1) >> 1;
        if (!before(&e, &s->heap[parent])) break;
        s->heap[k] = s->heap[parent];
        k = parent;
    }
    s->heap[k] = e;
}

static Event next_event(Sim *s) {
    Event top = s->heap[0], e = s->heap[--s->n_heap];
    int64_t k = 0, n = s->n_heap;
    for (;;) {
        int64_t child = 2 * k + 1;
        if (child >= n) break;
        if (child + 1 < n && before(&s->heap[child + 1], &s->heap[child])) child++;
        if (!before(&s->heap[child], &e)) break;
        s->heap[k] = s->heap[child];
        k = child;
    }
    if (n) s->heap[k] = e;
    return top;
}

static int sooner(const End *x, const End *y) { return x->step < y->step || (x->step == y->step && x->r < y->r); }

static void add_end(Sim *s, Lane *lane, End e) {
    if (!grow32(s, (void **)&lane->ends, &lane->room_ends, (int64_t)lane->n_ends + 1, sizeof(End))) return;
    int32_t k = lane->n_ends++;
    while (k > 0) {
        int32_t parent = (k - 1) >> 1;
        if (!sooner(&e, &lane->ends[parent])) break;
        lane->ends[k] = lane->ends[parent];
        k = parent;
    }
    lane->ends[k] = e;
}

static End next_end(Lane *lane) {
    End top = lane->ends[0], e = lane->ends[--lane->n_ends];
    int32_t k = 0, n = lane->n_ends;
    for (;;) {
        int32_t child = 2 * k + 1;
        if (child >= n) break;
        if (child + 1 < n && sooner(&lane->ends[child + 1], &lane->ends[child])) child++;
        if (!sooner(&lane->ends[child], &e)) break;
        lane->ends[k] = lane->ends[child];
        k = child;
    }
    if (n) lane->ends[k] = e;
    return top;
}

/* -- slots -------------------------------------------------------------------------------------------------------- */

static int32_t new_slot(Sim *s, int64_t r) {
    int32_t k;
    if (s->free_slots.n) k = s->free_slots.at[--s->free_slots.n];
    else {
        if (!grow32(s, (void **)&s->slots, &s->room_slots, (int64_t)s->n_slots + 1, sizeof(Slot))) return NONE;
        k = s->n_slots++;
    }
    Slot *x = &s->slots[k];
    memset(x, 0, sizeof *x);
    x->r = r;
    x->prompt = s->job->prompt[r];
    x->output = s->job->output[r];
    x->prompt_lane = x->decode_lane = NONE;
    x->joined = x->moving = x->early = NONE;
    x->used = 1;
    return k;
}

static void free_slot(Sim *s, int32_t k) {
    Slot *x = &s->slots[k];
    x->used = 0;
    x->moving = x->early = NONE;
    x->sending = 0;
    push(s, &s->free_slots, k);
}

static void set_prompt_lane(Sim *s, Slot *x, int32_t lane) {
    s->n_prompt_held += (lane != NONE) - (x->prompt_lane != NONE);
    x->prompt_lane = lane;
}

static void set_decode_lane(Sim *s, Slot *x, int32_t lane) {
    s->n_decode_held += (lane != NONE) - (x->decode_lane != NONE);
    x->decode_lane = lane;
}

/* -- router.py ---------------------------------------------------------------------------------------------------- */

static int32_t least(Sim *s, const int32_t *ids, int32_t n, const double *loads) {
    int32_t at = 0;
    for (int32_t k = 1; k < n; k++)
        if (loads[k] < loads[at]) at = k;
    if (s->job->policy.in_turns) {
        int32_t pool = s->job->specs[ids[at]].pool, start = (int32_t)(s->turn[pool] % n);
        if (at < start)
            for (int32_t k = start; k < n; k++)
                if (loads[k] == loads[at]) { at = k; break; }
        s->turn[pool] = at + 1;
    }
    return ids[at];
}

static int32_t least_promised(Sim *s, const int32_t *ids, int32_t n) {
    for (int32_t k = 0; k < n; k++) s->loads[k] = (double)s->promised[ids[k]];
    return least(s, ids, n, s->loads);
}

static int32_t least_pending(Sim *s, const int32_t *ids, int32_t n) {
    if (n == 1) return ids[0];
    const double *per_sent = s->job->per_sent;
    if (!per_sent)
        for (int32_t k = 0; k < n; k++) s->loads[k] = (double)s->pending[ids[k]];
    else
        for (int32_t k = 0; k < n; k++) {
            int32_t i = ids[k];
            s->loads[k] = (double)s->pending[i] + per_sent[i] * (double)s->to_send[s->job->specs[i].nic];
        }
    return least(s, ids, n, s->loads);
}

static const Ints *mixed_of(Sim *s, int32_t first, int32_t second) {
    s->ids.n = 0;
    for (int32_t k = 0; k < s->mixed.n; k++) {
        int32_t pool = s->job->specs[s->mixed.at[k]].pool;
        if (pool == first || pool == second) push(s, &s->ids, s->mixed.at[k]);
    }
    return &s->ids;
}

static int32_t in_turn(Sim *s, int32_t pool, const Ints *ids) {
    s->turn[pool]++;
    return ids->at[(s->turn[pool] - 1) % ids->n];
}

static int32_t for_prompt(Sim *s, int32_t pool) {
    const Ints *ids = s->pools[pool].n ? &s->pools[pool] : mixed_of(s, pool, pool);
    return s->job->policy.round_robin ? in_turn(s, pool, ids) : least_pending(s, ids->at, ids->n);
}

static int32_t for_decode(Sim *s, int32_t pool) {
    const Ints *ids = s->pools[pool].n ? &s->pools[pool] : mixed_of(s, pool, pool);
    if (s->job->policy.round_robin) return in_turn(s, pool, ids);
    return s->job->policy.by_memory ? least_promised(s, ids->at, ids->n) : least_pending(s, ids->at, ids->n);
}

static int has_work_waiting(Sim *s, int32_t i) {
    Lane *lane = &s->lanes[i];
    if (lane->queue.n || lane->joining.n || lane->mode == PAUSED) return 1;
    for (int32_t k = 0; k < lane->prompts.n; k++)
        if (s->slots[lane->prompts.at[k]].decode_lane == NONE) return 1;
    return 0;
}

static int32_t shortest(Sim *s, const Ints *ids, int64_t prompt) {
    if (!ids->n) return NONE;
    int32_t i = least_pending(s, ids->at, ids->n);
    return has_work_waiting(s, i) && s->pending[i] + prompt > s->job->policy.overflow_tokens ? NONE : i;
}

static int32_t roomy(Sim *s, const Ints *ids, int64_t whole) {
    if (!ids->n) return NONE;
    int32_t j = least_promised(s, ids->at, ids->n);
    return (double)(s->promised[j] + whole) > s->job->specs[j].kv_tokens ? NONE : j;
}

static void mix(Sim *s, int32_t i, int32_t pool) {
    take_out(&s->pools[pool], i);
    push(s, &s->mixed, i);
}

static void keep_fitting(Sim *s, const Ints *from, int64_t whole) {
    for (int32_t k = 0; k < from->n; k++)
        if (s->job->specs[from->at[k]].kv_tokens >= (double)whole) push(s, &s->both, from->at[k]);
}

static void with_overflow(Sim *s, int32_t first, int32_t second, int64_t prompt, int64_t whole, int32_t *a, int32_t *b) {
    int32_t i = shortest(s, &s->pools[first], prompt);
    if (i == NONE) i = shortest(s, mixed_of(s, first, second), prompt);
    int32_t j = roomy(s, &s->pools[second], whole);
    if (j == NONE) j = roomy(s, mixed_of(s, first, second), whole);
    if (i == NONE && s->pools[second].n) {
        i = least_pending(s, s->pools[second].at, s->pools[second].n);
        mix(s, i, second);
    }
    if (j == NONE) {
        s->both.n = 0;
        keep_fitting(s, &s->pools[first], whole);
        if (s->both.n) {
            j = least_promised(s, s->both.at, s->both.n);
            mix(s, j, first);
        }
    }
    if (i == NONE || j == NONE) {
        s->both.n = 0;
        keep_fitting(s, &s->pools[first], whole);
        keep_fitting(s, mixed_of(s, first, second), whole);
        keep_fitting(s, &s->pools[second], whole);
        i = j = least_pending(s, s->both.at, s->both.n);
    }
    *a = i;
    *b = j;
}

static void drained(Sim *s, int32_t i) {
    if (!holds(&s->mixed, i)) return;
    take_out(&s->mixed, i);
    push(s, &s->pools[s->job->specs[i].pool], i);
}

static void decode_on(Sim *s, int32_t j, int64_t whole) {
    s->pending[j] += 1;
    s->promised[j] += whole;
}

static void decode_off(Sim *s, int32_t j, int64_t whole) {
    s->pending[j] -= 1;
    s->promised[j] -= whole;
}

static void assign(Sim *s, int32_t i, int32_t j, int64_t prompt, int64_t output) {
    int by_tokens = s->job->policy.by_tokens;
    if (j == NONE) {
        s->pending[i] += by_tokens ? prompt : 1;
        s->promised[i] += prompt + output;
    } else if (j == i) {
        s->pending[i] += by_tokens ? prompt + 1 : 1;
        s->promised[i] += prompt + output;
    } else {
        s->pending[i] += by_tokens ? prompt : 1;
        s->promised[i] += prompt;
        s->to_send[s->job->specs[i].nic] += prompt;
        decode_on(s, j, prompt + output);
    }
}

static void prompt_done(Sim *s, int32_t i, int64_t prompt, int stays) {
    if (s->job->policy.by_tokens) s->pending[i] -= prompt;
    else if (!stays) s->pending[i] -= 1;
}

static void sent(Sim *s, int32_t i, int64_t tokens) {
    s->promised[i] -= tokens;
    s->to_send[s->job->specs[i].nic] -= tokens;
}

/* -- links.py ----------------------------------------------------------------------------------------------------- */

static int scarce(Sim *s, int32_t end) { return s->wanted[end] > s->capacity[end] * HAIR; }

static void make_dirty(Sim *s, int32_t end) {
    if (s->is_dirty[end]) return;
    s->is_dirty[end] = 1;
    push(s, &s->dirty, end);
}

static void set_rate(Sim *s, int32_t k, double rate, double now) {
    Slot *x = &s->slots[k];
    double old = x->rate;
    if (rate == old) return;
    x->left_bytes -= old * (now - x->at_s);
    x->at_s = now;
    x->rate = rate;
    if (x->held) return;
    x->version = ++s->link_version;
    double left = x->left_bytes > 0.0 ? x->left_bytes : 0.0;
    x->due_s = now + left / rate;
    x->due_number = ++s->number;
    make_dirty(s, x->end_in);
}

/* Of the transfers into each NIC only the next to end is an event: the others come up when it has ended, with the time
   and number that they were given, so that the order is the same as if all were. */
static void schedule(Sim *s) {
    for (int32_t m = 0; m < s->dirty.n; m++) {
        const Ints *on = &s->on[s->dirty.at[m]];
        int32_t next = NONE;
        s->is_dirty[s->dirty.at[m]] = 0;
        for (int32_t n = 0; n < on->n; n++) {
            const Slot *x = &s->slots[on->at[n]], *y;
            if (!x->version) continue;
            if (next != NONE) {
                y = &s->slots[next];
                if (y->due_s < x->due_s || (y->due_s == x->due_s && y->due_number < x->due_number)) continue;
            }
            next = on->at[n];
        }
        if (next != NONE && s->slots[next].pushed != s->slots[next].version) {
            Slot *x = &s->slots[next];
            x->pushed = x->version;
            add_event(s, x->due_s, x->due_number, SENT, next, x->version);
        }
    }
    s->dirty.n = 0;
}

/* Stable, as Python's: by insertion where there are few, else by merging. */
static void sort_by_most(Sim *s, int32_t *ids, int32_t n) {
    if (n > 32) {
        int32_t half = n / 2, a = 0, b = half, k = 0;
        if (!grow32(s, (void **)&s->order.at, &s->order.room, (int64_t)s->order.n + n, sizeof(int32_t))) return;
        sort_by_most(s, ids, half);
        sort_by_most(s, ids + half, n - half);
        if (s->slots[ids[half - 1]].most <= s->slots[ids[half]].most) return;
        int32_t *merged = s->order.at;
        while (a < half && b < n) merged[k++] = s->slots[ids[b]].most < s->slots[ids[a]].most ? ids[b++] : ids[a++];
        while (a < half) merged[k++] = ids[a++];
        while (b < n) merged[k++] = ids[b++];
        memcpy(ids, merged, (size_t)n * sizeof(int32_t));
        return;
    }
    for (int32_t k = 1; k < n; k++) {
        int32_t x = ids[k], m = k;
        double most = s->slots[x].most;
        while (m > 0 && s->slots[ids[m - 1]].most > most) { ids[m] = ids[m - 1]; m--; }
        ids[m] = x;
    }
}

static int compare_ints(const void *a, const void *b) { return *(const int32_t *)a - *(const int32_t *)b; }

/* Max-min fair rates of the transfers found, into the slots' order of `found`. */
static void fair_rates(Sim *s) {
    int32_t n = s->found.n;
    if (!grow32(s, (void **)&s->rates, &s->room_rates, n, sizeof(double))) return;
    qsort(s->seen.at, (size_t)s->seen.n, sizeof(int32_t), compare_ints);
    for (int32_t k = 0; k < s->seen.n; k++) {
        s->room[s->seen.at[k]] = s->capacity[s->seen.at[k]];
        s->users[s->seen.at[k]] = 0;
    }
    s->waiting.n = 0;
    for (int32_t k = 0; k < n; k++) {
        Slot *x = &s->slots[s->found.at[k]];
        x->order = k;
        if (s->is_seen[x->end_out]) s->users[x->end_out]++;
        if (s->is_seen[x->end_in]) s->users[x->end_in]++;
        s->rates[k] = 0.0;
        push(s, &s->waiting, s->found.at[k]);
    }
    sort_by_most(s, s->waiting.at, n);
    while (s->waiting.n) {
        int32_t port = NONE, kept = 0;
        double level = INFINITY;
        for (int32_t k = 0; k < s->seen.n; k++) {
            int32_t end = s->seen.at[k];
            if (s->users[end] && s->room[end] < level * (double)s->users[end]) {
                port = end;
                level = s->room[end] / (double)s->users[end];
            }
        }
        double most = s->slots[s->waiting.at[0]].most;
        int by_most = most <= level;
        if (by_most) level = most;
        for (int32_t k = 0; k < s->waiting.n; k++) {
            int32_t id = s->waiting.at[k];
            Slot *x = &s->slots[id];
            int fixed = by_most ? x->most <= most : (x->end_out == port || x->end_in == port);
            if (!fixed) { s->waiting.at[kept++] = id; continue; }
            s->rates[x->order] = level;
            int32_t ends[2] = {x->end_out, x->end_in};
            for (int e = 0; e < 2; e++)
                if (s->is_seen[ends[e]]) {
                    double left = s->room[ends[e]] - level;
                    s->users[ends[e]]--;
                    s->room[ends[e]] = left > 0.0 ? left : 0.0;
                }
        }
        s->waiting.n = kept;
    }
}

static void share(Sim *s, int32_t own, const int32_t *ends, int32_t n_ends, double now) {
    if (!n_ends) {
        if (own != NONE) set_rate(s, own, s->slots[own].most, now);
        return;
    }
    s->found.n = s->left.n = s->seen.n = 0;
    if (own != NONE) { push(s, &s->found, own); s->slots[own].found = 1; }
    for (int32_t k = 0; k < n_ends; k++) {
        if (!s->is_seen[ends[k]]) { s->is_seen[ends[k]] = 1; push(s, &s->seen, ends[k]); }
        push(s, &s->left, ends[k]);
    }
    while (s->left.n) {
        const Ints *on = &s->on[s->left.at[--s->left.n]];
        for (int32_t k = 0; k < on->n; k++) {
            Slot *x = &s->slots[on->at[k]];
            if (!x->found) { x->found = 1; push(s, &s->found, on->at[k]); }
            int32_t both[2] = {x->end_out, x->end_in};
            for (int e = 0; e < 2; e++)
                if (!s->is_seen[both[e]] && scarce(s, both[e])) {
                    s->is_seen[both[e]] = 1;
                    push(s, &s->seen, both[e]);
                    push(s, &s->left, both[e]);
                }
        }
    }
    for (int32_t k = 0; k < s->found.n; k++) s->slots[s->found.at[k]].found = 0;
    if (s->seen.n == 1) {
        double room = s->capacity[ends[0]];
        int32_t n = s->found.n;
        sort_by_most(s, s->found.at, n);
        for (int32_t k = 0; k < s->found.n; k++) {
            Slot *x = &s->slots[s->found.at[k]];
            double part = room / (double)n, rate = part < x->most ? part : x->most;
            room -= rate;
            n--;
            set_rate(s, s->found.at[k], rate, now);
        }
    } else {
        fair_rates(s);
        for (int32_t k = 0; k < s->found.n && !s->failed; k++) set_rate(s, s->found.at[k], s->rates[k], now);
    }
    for (int32_t k = 0; k < s->seen.n; k++) s->is_seen[s->seen.at[k]] = 0;
}

static int32_t scarce_ends(Sim *s, const Slot *x, int32_t *ends) {
    int32_t n = 0;
    if (scarce(s, x->end_out)) ends[n++] = x->end_out;
    if (scarce(s, x->end_in)) ends[n++] = x->end_in;
    return n;
}

static void start_transfer(Sim *s, int32_t k, int32_t source, int32_t target, double size, double most, double now, int held) {
    Slot *x = &s->slots[k];
    int32_t ends[2];
    x->end_out = source;
    x->end_in = s->job->n_nics + target;
    x->left_bytes = size;
    x->most = s->capacity[source] < most ? s->capacity[source] : most;
    x->held = held;
    x->rate = 0.0;
    x->version = x->pushed = 0;
    x->at_s = now;
    x->sending = 1;
    push(s, &s->on[x->end_out], k);
    push(s, &s->on[x->end_in], k);
    s->wanted[x->end_out] += x->most;
    s->wanted[x->end_in] += x->most;
    share(s, k, ends, scarce_ends(s, x, ends), now);
    schedule(s);
}

static void release(Sim *s, int32_t k, double most, double now) {
    Slot *x = &s->slots[k];
    int32_t ends[2];
    if (s->capacity[x->end_out] < most) most = s->capacity[x->end_out];
    s->wanted[x->end_out] += most - x->most;
    s->wanted[x->end_in] += most - x->most;
    x->most = most;
    x->held = 0;
    x->left_bytes -= x->rate * (now - x->at_s);
    x->at_s = now;
    x->rate = 0.0;
    share(s, k, ends, scarce_ends(s, x, ends), now);
    schedule(s);
}

static void end_transfer(Sim *s, int32_t k, double now) {
    Slot *x = &s->slots[k];
    int32_t ends[2], n = scarce_ends(s, x, ends), both[2] = {x->end_out, x->end_in};
    x->sending = 0;
    for (int e = 0; e < 2; e++) {
        take_out(&s->on[both[e]], k);
        s->wanted[both[e]] = s->on[both[e]].n ? s->wanted[both[e]] - x->most : 0.0;
    }
    make_dirty(s, x->end_in);
    if (n) share(s, NONE, ends, n, now);
    schedule(s);
}

/* -- lane.py ------------------------------------------------------------------------------------------------------ */

static const Table *table_of(Sim *s, int32_t i) { return &s->job->tables[s->job->specs[i].table]; }

static void reserve(Lane *lane, int64_t tokens, double t) {
    lane->kv_time += (double)lane->reserved * (t - lane->reserved_since);
    lane->reserved_since = t;
    lane->reserved += tokens;
}

static int has_room(Sim *s, int32_t i, int64_t tokens) {
    Lane *lane = &s->lanes[i];
    return (double)(lane->reserved + tokens) <= s->job->specs[i].kv_tokens && lane->members < s->job->specs[i].max_batch;
}

static double looked_up(const Table *table, const double *of, int64_t tokens) {
    if (table->prompt_stride == 1) return of[tokens];
    int64_t at = tokens / table->prompt_stride, beyond = tokens % table->prompt_stride;
    double low = of[at];
    return low + (of[at + 1] - low) * (double)beyond / (double)table->prompt_stride;
}

static double prefill_s(const Table *table, int64_t tokens, double pairs, int64_t n_prompts) {
    double alone = looked_up(table, table->prompt_s, tokens), extra;
    if (table->together_s && n_prompts > 1) {
        double together = looked_up(table, table->together_s, tokens);
        together += table->spread_pair_s * (pairs - (double)tokens * table->pairs_per_token);
        double more = alone - together > 0.0 ? alone - together : 0.0;
        int64_t n = n_prompts < table->n_on_one ? n_prompts : table->n_on_one;
        return together + table->on_one[n - 1] * more;
    }
    extra = table->pair_s * (pairs - (double)tokens * ((double)tokens + 1.0) / 2.0);
    if (extra < 0.0 && extra < -0.5 * alone) extra = -0.5 * alone;
    return alone + extra + table->extra_prompt_s * (double)(n_prompts - 1);
}

static double mixed_s(const Table *table, double alone, int64_t batch, int64_t context) {
    if (!batch) return alone;
    return table->mixed_offset_s[batch] + table->mixed_slope[batch] * alone + table->context_s * (double)context;
}

static int64_t takes(Sim *s, int32_t i, const Slot *x) {
    return (int64_t)x->prompt + (s->job->specs[i].paged ? 1 : x->output);
}

static int admit(Sim *s, int32_t i, int32_t k, double t) {
    Lane *lane = &s->lanes[i];
    Slot *x = &s->slots[k];
    int64_t need = x->prompt;
    int32_t j = x->decode_lane;
    if (j == NONE) {
        need = takes(s, i, x);
        if (!has_room(s, i, s->job->specs[i].paged ? need + lane->batch : need)) return 0;
        lane->members++;
    } else {
        if ((double)(lane->reserved + need) > s->job->specs[i].kv_tokens) return 0;
        if (s->job->policy.overflow) {
            Lane *target = &s->lanes[j];
            int64_t whole = need + x->output;
            if (!has_room(s, j, whole)) {
                if (!holds(&target->blocked, i)) push(s, &target->blocked, i);
                return 0;
            }
            reserve(target, whole, t);
            target->members++;
        }
    }
    reserve(lane, need, t);
    x->stage = COMPUTING;
    s->job->prefill_start[x->r] = t;
    return 1;
}

static int take_prompts(Sim *s, int32_t i, double t, int64_t *total_out, double *pairs_out, int64_t *n_out) {
    Lane *lane = &s->lanes[i];
    int64_t chunk = s->job->specs[i].chunk_tokens, budget = s->job->specs[i].token_budget, total = 0;
    int chunked = chunk >= 0;
    int64_t beside = s->job->specs[i].apart ? 0 : lane->batch;
    int64_t most = chunked ? (chunk - beside > 1 ? chunk - beside : 1) : budget;
    double pairs = 0.0;
    while (lane->queue.n && !s->failed) {
        int32_t k = front(&lane->queue);
        int64_t left = s->slots[k].prompt - lane->computed, now;
        if (total && (total >= most || (!chunked && total + left > most))) break;
        if (!lane->computed && !admit(s, i, k, t)) break;
        now = !chunked ? left : (left < most - total ? left : most - total);
        total += now;
        pairs += (double)now * ((double)lane->computed + (double)(now + 1) / 2.0);
        if (now < left) {
            lane->computed += now;
            break;
        }
        lane->computed = 0;
        push(s, &lane->prompts, popleft(&lane->queue));
    }
    *total_out = total;
    *pairs_out = pairs;
    *n_out = lane->prompts.n ? lane->prompts.n : 1;
    return total > 0;
}

static void join_batch(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    if (!lane->batch) lane->last_token = t;
    for (int32_t k = 0; k < lane->joining.n; k++) {
        int32_t id = lane->joining.at[k];
        Slot *x = &s->slots[id];
        End end = {lane->done + x->output - 1, x->r, id};
        add_end(s, lane, end);
        x->joined = lane->done + 1;
        lane->context += x->prompt + 1;
    }
    lane->batch += lane->joining.n;
    for (int32_t k = 0; k < lane->joining.n; k++) push(s, &lane->fresh, lane->joining.at[k]);
    if (s->job->specs[i].paged)
        for (int32_t k = 0; k < lane->joining.n; k++) push(s, &lane->order, lane->joining.at[k]);
    lane->joining.n = 0;
}

/* When what a lane starts ends; below 0 if there is nothing. */
static double begin_step(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    const Table *table = table_of(s, i);
    lane->cut_already = 0;
    if (lane->joining.n) join_batch(s, i, t);
    int64_t batch = lane->batch;
    lane->since = t;
    int apart = s->job->specs[i].apart;
    if (lane->queue.n && !lane->crowded && (apart || !(batch && lane->pauses >= s->job->policy.max_pauses))) {
        int64_t total, n_prompts;
        double pairs;
        if (take_prompts(s, i, t, &total, &pairs, &n_prompts)) {
            lane->step_tokens = total;
            double duration = prefill_s(table, total, pairs, n_prompts);
            if (batch && (apart || (s->job->policy.shared_budget && total + batch > s->job->specs[i].token_budget))) {
                lane->mode = PAUSED;
                lane->steps = 0;
                lane->pauses += !apart;
                return t + duration;
            }
            if (batch) duration = mixed_s(table, duration, batch, lane->context);
            lane->mode = PROMPTS;
            lane->steps = 1;
            lane->pauses = 0;
            return t + duration;
        }
    }
    if (!batch) {
        lane->mode = IDLE;
        return -1.0;
    }
    double growth = table->context_s, first = table->decode_s[batch] + growth * (double)lane->context;
    lane->first = first;
    int64_t steps = lane->pauses ? 1 : lane->ends[0].step - lane->done;
    if (s->job->specs[i].paged) {
        int64_t room = (int64_t)(s->job->specs[i].kv_tokens - (double)lane->reserved) / batch;
        if (room < steps) steps = room;
    }
    lane->mode = DECODE;
    lane->steps = steps;
    lane->pauses = 0;
    return t + (double)steps * first + growth * (double)batch * (double)steps * (double)(steps - 1) / 2.0;
}

static double cut(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    lane->cut_already = 1;
    double growth = table_of(s, i)->context_s * (double)lane->batch, first = lane->first, elapsed = t - lane->since, x;
    if (growth > 1e-18) {
        double b = first - growth / 2.0;
        x = ceil((sqrt(b * b + 2.0 * growth * elapsed) - b) / growth - 1e-9);
    } else x = ceil(elapsed / first - 1e-9);
    int64_t n = (int64_t)x;
    if (n < 1) n = 1;
    if (n >= lane->steps) return -1.0;
    lane->steps = n;
    return lane->since + (double)n * first + growth * (double)n * (double)(n - 1) / 2.0;
}

static void note_gap(Sim *s, Lane *lane, double gap, int64_t step) {
    while (lane->n_gaps && lane->gaps[lane->n_gaps - 1] <= gap) lane->n_gaps--;
    int32_t room = lane->room_gaps;
    if (!grow32(s, (void **)&lane->gaps, &room, (int64_t)lane->n_gaps + 1, sizeof(double))) return;
    if (!grow32(s, (void **)&lane->gap_steps, &lane->room_gaps, (int64_t)lane->n_gaps + 1, sizeof(int64_t))) return;
    lane->gaps[lane->n_gaps] = gap;
    lane->gap_steps[lane->n_gaps++] = step;
}

static void give_tokens(Sim *s, int32_t i, double t, double first) {
    Lane *lane = &s->lanes[i];
    int64_t steps = lane->steps, done = lane->done;
    double next_token = lane->since + first, gap = next_token - lane->last_token;
    if (steps > 1) {
        double last = first + table_of(s, i)->context_s * (double)lane->batch * (double)(steps - 1);
        if (gap > last) note_gap(s, lane, gap, done + 1);
        gap = last;
    } else if (gap < first) gap = first;
    note_gap(s, lane, gap, done + steps);
    if (lane->fresh.n) {
        for (int32_t k = 0; k < lane->fresh.n; k++) {
            Slot *x = &s->slots[lane->fresh.at[k]];
            int64_t r = x->r;
            double own = next_token - (x->again ? x->last_token : s->job->first_token[r]);
            x->again = 0;
            if (own > (double)s->job->largest_gap[r]) s->job->largest_gap[r] = (float)own;
        }
        lane->fresh.n = 0;
    }
    lane->done = done + steps;
    lane->context += lane->batch * steps;
    lane->last_token = t;
}

/* Accounts for a step; the prompts that it computed are those left in `prompts` if it was no decode step. */
static int finish_step(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    double duration = t - lane->since;
    int32_t mode = lane->mode;
    int64_t batch = lane->batch, steps = lane->steps;
    lane->busy += duration;
    lane->mode = IDLE;
    if (batch) {
        lane->batch_time += (double)batch * duration;
        lane->context_time +=
            (steps ? (double)lane->context + (double)(batch * (steps - 1)) / 2.0 : (double)lane->context) * duration;
        if (steps) {
            give_tokens(s, i, t, mode == DECODE ? lane->first : duration);
            if (s->job->specs[i].paged) {
                lane->kv_time += (double)(batch * (steps - 1)) / 2.0 * duration;
                reserve(lane, batch * steps, t);
            }
        }
    }
    if (mode == DECODE) return 0;
    lane->prompt_time += duration;
    lane->prompt_tokens += lane->step_tokens;
    return 1;
}

static void leave(Sim *s, int32_t i, Slot *x, double t) {
    Lane *lane = &s->lanes[i];
    int64_t whole = (int64_t)x->prompt + x->output;
    lane->batch--;
    lane->members--;
    if (s->job->specs[i].paged) take_out(&lane->order, (int32_t)(x - s->slots));
    lane->context -= whole;
    lane->kv_time += (double)lane->reserved * (t - lane->reserved_since);
    lane->reserved_since = t;
    lane->reserved -= whole;
    int64_t joined = x->joined + 1;
    int32_t low = 0, high = lane->n_gaps;
    while (low < high) {
        int32_t middle = (low + high) / 2;
        if (lane->gap_steps[middle] < joined) low = middle + 1;
        else high = middle;
    }
    if (low < lane->n_gaps && lane->gaps[low] > (double)s->job->largest_gap[x->r])
        s->job->largest_gap[x->r] = (float)lane->gaps[low];
    if (!lane->batch) lane->n_gaps = 0;
    x->joined = NONE;
}

static void append_left(Sim *s, Deque *q, int32_t x) {
    append(s, q, x);
    if (s->failed) return;
    q->first = (q->first + q->room - 1) & (q->room - 1);
    q->at[q->first] = x;
}

/* The request that started last gives its memory back, where the next token of each sequence has no room. */
static int32_t last_in(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    if (lane->joining.n) join_batch(s, i, t);
    if (!lane->batch || (double)(lane->reserved + lane->batch) <= s->job->specs[i].kv_tokens) return NONE;
    lane->crowded = 1;
    lane->members--;
    if (lane->computed) {
        int32_t k = popleft(&lane->queue);
        lane->computed = 0;
        reserve(lane, -takes(s, i, &s->slots[k]), t);
        return k;
    }
    int32_t k = lane->order.at[--lane->order.n], n = lane->n_ends;
    Slot *x = &s->slots[k];
    int32_t out = (int32_t)(lane->done + 2 - x->joined);
    int fresh = holds(&lane->fresh, k);
    x->joined = NONE;
    if (!fresh) x->last_token = lane->last_token;
    else if (!x->again) x->last_token = s->job->first_token[x->r];
    x->again = 1;
    x->prompt += out;
    x->output -= out;
    lane->n_ends = 0;
    for (int32_t m = 0; m < n; m++)
        if (lane->ends[m].slot != k) add_end(s, lane, lane->ends[m]);
    if (fresh) take_out(&lane->fresh, k);
    lane->batch--;
    lane->context -= x->prompt;
    reserve(lane, -(int64_t)x->prompt, t);
    return k;
}

static void add_integrals(const Lane *lane, double t, double *to) {
    double running = lane->mode != IDLE ? t - lane->since : 0.0, prompts = lane->mode == DECODE ? 0.0 : running;
    to[0] += lane->busy + running;
    to[1] += lane->prompt_time + prompts;
    to[2] += lane->batch_time + (double)lane->batch * running;
    to[3] += lane->context_time + (double)lane->context * running;
    to[4] += lane->kv_time + (double)lane->reserved * (t - lane->reserved_since);
    to[5] += (double)lane->prompt_tokens;
}

static void integrals(Sim *s, double t, double *to) {
    memcpy(to, s->lost, (size_t)s->job->n_pools * INTEGRALS * sizeof(double));
    for (int32_t i = 0; i < s->job->n_lanes; i++) add_integrals(&s->lanes[i], t, to + s->job->specs[i].pool * INTEGRALS);
}

/* -- engine.py ---------------------------------------------------------------------------------------------------- */

static void wake(Sim *s, int32_t i, double t);
static void let_in(Sim *s, int32_t i, double t);

static const Wire *wire_of(Sim *s, int32_t i, int32_t j) {
    return &s->job->wires[s->job->specs[i].pool * s->job->n_pools + s->job->specs[j].pool];
}

/* Exposed delay after a prompt; whether it overlaps. */
static double exposed_s(const Wire *wire, int64_t prompt, double computing, int *overlaps) {
    double on_wire = (double)prompt * wire->bytes_per_token / wire->bandwidth_bytes_per_s;
    double serial = wire->setup_s + wire->latency_s + on_wire;
    *overlaps = 0;
    if (wire->overlapped) {
        double hidden = computing * (1.0 - 1.0 / (double)wire->n_layers);
        double left = on_wire - hidden, least_left = on_wire / (double)wire->n_layers;
        if (least_left > left) left = least_left;
        double behind = wire->synchronisation_s + wire->latency_s + left;
        if (behind < serial) {
            *overlaps = 1;
            return behind;
        }
    }
    return serial;
}

static void make_room(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    int32_t k;
    lane->crowded = 0;
    while (!s->failed && (k = last_in(s, i, t)) != NONE) {
        Slot *x = &s->slots[k];
        s->job->n_preempted++;
        if (x->stage == DECODING) {
            set_decode_lane(s, x, NONE);
            set_prompt_lane(s, x, i);
            if (s->job->policy.by_tokens) s->pending[i] += x->prompt;
        }
        x->stage = QUEUED;
        append_left(s, &lane->queue, k);
    }
}

static void begin(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    if (s->job->specs[i].paged) make_room(s, i, t);
    double until = begin_step(s, i, t);
    if (until >= 0) {
        add_event(s, until, ++s->number, BOUNDARY, i, lane->version);
        if (s->sends_early)
            for (int32_t k = 0; k < lane->prompts.n; k++) {
                int32_t id = lane->prompts.at[k];
                Slot *x = &s->slots[id];
                if (x->decode_lane == NONE) continue;
                const Wire *wire = wire_of(s, i, x->decode_lane);
                int overlaps;
                if (wire->n_layers <= 1) continue;
                exposed_s(wire, x->prompt, until - t, &overlaps);
                if (!overlaps) continue;
                x->early = ++s->number;
                add_event(s, t + (until - t) / (double)wire->n_layers, s->number, EARLY, x->decode_lane, id);
            }
    } else if (s->mixed.n && !lane->queue.n) drained(s, i);
}

static void wake(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    if (lane->mode == IDLE) begin(s, i, t);
    else if (lane->mode == DECODE && !lane->cut_already) {
        double until = cut(s, i, t);
        if (until >= 0) {
            lane->version++;
            add_event(s, until, ++s->number, BOUNDARY, i, lane->version);
        }
    }
}

static void enqueue(Sim *s, int32_t k, double t) {
    Slot *x = &s->slots[k];
    const int32_t *way = s->job->ways + 2 * (s->job->way_of ? s->job->way_of[x->r] : 0);
    int32_t first = way[0], second = way[1], i, j;
    if (x->output == 1) { i = for_prompt(s, first); j = NONE; }
    else if (second == NONE) { i = for_prompt(s, first); j = i; }
    else if (s->job->policy.overflow) {
        with_overflow(s, first, second, x->prompt, (int64_t)x->prompt + x->output, &i, &j);
        if (s->job->specs[i].pool != first || s->job->specs[j].pool != second) s->job->n_overflowed++;
    } else { i = for_prompt(s, first); j = for_decode(s, second); }
    assign(s, i, j, x->prompt, x->output);
    if (j != NONE && j != i) set_decode_lane(s, x, j);
    set_prompt_lane(s, x, i);
    x->stage = QUEUED;
    Lane *lane = &s->lanes[i];
    append(s, &lane->queue, k);
    if (s->job->policy.long_prompts_wait && x->prompt > s->job->specs[i].token_budget && lane->mode == DECODE && j != i)
        return;
    wake(s, i, t);
}

static void arrives(Sim *s, int32_t k, int32_t j, double at) {
    Slot *x = &s->slots[k];
    if (x->no_sooner > at) at = x->no_sooner;
    s->job->transfer[x->r] = (float)(at - x->since);
    x->moving = ++s->number;
    add_event(s, at, s->number, JOIN, j, k);
}

static void give_up(Sim *s, int32_t k, double t) {
    Slot *x = &s->slots[k];
    x->early = x->moving = NONE;
    if (x->sending) end_transfer(s, k, t);
}

static void book(Sim *s, int32_t k, int32_t j, double t) {
    s->lanes[j].members++;
    reserve(&s->lanes[j], (int64_t)s->slots[k].prompt + s->slots[k].output, t);
}

static void send(Sim *s, int32_t k, int32_t i, int32_t j, double t) {
    Slot *x = &s->slots[k];
    const Wire *wire = wire_of(s, i, j);
    int overlaps;
    double exposed = exposed_s(wire, x->prompt, x->stage == COMPUTING ? t - s->lanes[i].since : 0.0, &overlaps);
    x->stage = MOVING;
    x->since = t;
    x->no_sooner = t + exposed;
    if (!s->job->policy.contention) { arrives(s, k, j, t); return; }
    if (x->early != NONE) {
        x->early = NONE;
        release(s, k, wire->bandwidth_bytes_per_s, t);
    } else {
        double size = (double)x->prompt * wire->bytes_per_token;
        start_transfer(s, k, s->job->specs[i].nic, s->job->specs[j].nic, size, wire->bandwidth_bytes_per_s, t, 0);
    }
}

static void place(Sim *s, int32_t k, int32_t i, int32_t j, double t) {
    Slot *x = &s->slots[k];
    if (s->job->policy.overflow) send(s, k, i, j, t);
    else if (!s->lanes[j].waiting.n && has_room(s, j, (int64_t)x->prompt + x->output)) {
        book(s, k, j, t);
        send(s, k, i, j, t);
    } else {
        give_up(s, k, t);
        s->job->n_waited++;
        x->stage = WAITING;
        append(s, &s->lanes[j].waiting, k);
    }
}

/* -- clients of a closed loop ------------------------------------------------------------------------------------- */

static void will_send(Sim *s, double at) {
    if (!grow(s, (void **)&s->due, &s->room_due, s->n_due + 1, sizeof(double))) return;
    int64_t k = s->n_due++;
    for (; k && at < s->due[(k - 1) / 2]; k = (k - 1) / 2) s->due[k] = s->due[(k - 1) / 2];
    s->due[k] = at;
}

static double next_due(Sim *s) {
    double least = s->due[0], last = s->due[--s->n_due];
    int64_t k = 0;
    for (int64_t c; (c = 2 * k + 1) < s->n_due; k = c) {
        if (c + 1 < s->n_due && s->due[c + 1] < s->due[c]) c++;
        if (!(s->due[c] < last)) break;
        s->due[k] = s->due[c];
    }
    s->due[k] = last;
    return least;
}

/* When the front end hands on the next request, as far as answers are known. */
static double next_of_clients(const Sim *s) {
    if (!s->n_due || s->job->r == s->job->n_requests) return INFINITY;
    double from = s->due[0] > s->front_end_free_s ? s->due[0] : s->front_end_free_s;
    return from + s->job->work_s[s->job->r];
}

static void answered(Sim *s, int64_t r, double t) {
    if (s->job->n_clients) will_send(s, t + s->job->pause_s[r]);
}

static void hand_over(Sim *s, int32_t k, int32_t i, double t) {
    Slot *x = &s->slots[k];
    int32_t j = x->decode_lane;
    int again = x->again;
    prompt_done(s, i, x->prompt, j == NONE && (again || x->output > 1));
    if (isnan(s->job->first_token[x->r])) s->job->first_token[x->r] = t;
    if (again) {
        double gap = t - x->last_token;
        if (gap > (double)s->job->largest_gap[x->r]) s->job->largest_gap[x->r] = (float)gap;
        x->last_token = t;
    }
    if (j != NONE) { place(s, k, i, j, t); return; }
    set_prompt_lane(s, x, NONE);
    if (x->output == 1) {
        int64_t whole = (int64_t)x->prompt + 1;
        s->job->finish[x->r] = t;
        answered(s, x->r, t);
        s->lanes[i].members--;
        reserve(&s->lanes[i], -whole, t);
        if (again) decode_off(s, i, whole);
        else s->promised[i] -= whole;
        free_slot(s, k);
        let_in(s, i, t);
    } else {
        x->stage = DECODING;
        set_decode_lane(s, x, i);
        push(s, &s->lanes[i].joining, k);
    }
}

static void end_request(Sim *s, int32_t k, int32_t i, double t) {
    Slot *x = &s->slots[k];
    leave(s, i, x, t);
    s->job->finish[x->r] = t;
    answered(s, x->r, t);
    set_decode_lane(s, x, NONE);
    decode_off(s, i, (int64_t)x->prompt + x->output);
    free_slot(s, k);
    if (s->lanes[i].waiting.n || s->lanes[i].blocked.n) let_in(s, i, t);
}

static void boundary(Sim *s, int32_t i, double t) {
    if (finish_step(s, i, t)) {
        Ints done = s->lanes[i].prompts;
        memset(&s->lanes[i].prompts, 0, sizeof(Ints));
        for (int32_t k = 0; k < done.n && !s->failed; k++) hand_over(s, done.at[k], i, t);
        if (!s->lanes[i].prompts.at) {
            done.n = 0;
            s->lanes[i].prompts = done;
        } else free(done.at);
    }
    int64_t done = s->lanes[i].done;
    while (s->lanes[i].n_ends && s->lanes[i].ends[0].step <= done && !s->failed) end_request(s, next_end(&s->lanes[i]).slot, i, t);
    begin(s, i, t);
}

static void let_in(Sim *s, int32_t i, double t) {
    Lane *lane = &s->lanes[i];
    while (lane->waiting.n && !s->failed) {
        Slot *x = &s->slots[front(&lane->waiting)];
        if (!has_room(s, i, (int64_t)x->prompt + x->output)) break;
        int32_t k = popleft(&lane->waiting);
        book(s, k, i, t);
        send(s, k, x->prompt_lane, i, t);
    }
    if (lane->blocked.n) {
        Ints blocked = lane->blocked;
        memset(&lane->blocked, 0, sizeof(Ints));
        for (int32_t k = 0; k < blocked.n && !s->failed; k++) wake(s, blocked.at[k], t);
        free(blocked.at);
    }
}

static void send_early(Sim *s, int32_t k, int32_t j, double t) {
    Slot *x = &s->slots[k];
    int32_t i = x->prompt_lane;
    const Wire *wire = wire_of(s, i, j);
    double size = (double)x->prompt * wire->bytes_per_token;
    double yields = size / (t - s->lanes[i].since) / (double)wire->n_layers;
    double most = wire->bandwidth_bytes_per_s < yields ? wire->bandwidth_bytes_per_s : yields;
    start_transfer(s, k, s->job->specs[i].nic, s->job->specs[j].nic, size, most, t, 1);
}

static void joined(Sim *s, int32_t k, int32_t j, double t) {
    Slot *x = &s->slots[k];
    int32_t i = x->prompt_lane;
    int64_t prompt = x->prompt;
    set_prompt_lane(s, x, NONE);
    reserve(&s->lanes[i], -prompt, t);
    sent(s, i, prompt);
    x->stage = DECODING;
    push(s, &s->lanes[j].joining, k);
    wake(s, j, t);
    let_in(s, i, t);
    if (s->lanes[i].queue.n) wake(s, i, t);
}

/* -- failures ----------------------------------------------------------------------------------------------------- */

static int is_gone(Sim *s, int32_t i, int32_t machine) { return i != NONE && s->job->specs[i].machine == machine; }

static void redirect(Sim *s, int32_t k, int32_t i, double t) {
    Slot *x = &s->slots[k];
    int32_t other = for_decode(s, s->job->specs[x->decode_lane].pool);
    decode_on(s, other, (int64_t)x->prompt + x->output);
    x->decode_lane = other;
    give_up(s, k, t);
    if (x->stage == WAITING || x->stage == MOVING) {
        x->stage = WAITING;
        place(s, k, i, other, t);
    }
}

static void withdraw(Sim *s, int32_t k, int32_t machine, uint8_t *freed, double t) {
    Slot *x = &s->slots[k];
    int32_t stage = x->stage, i = x->prompt_lane, j = x->decode_lane;
    int64_t prompt = x->prompt, whole = prompt + x->output;
    set_prompt_lane(s, x, NONE);
    set_decode_lane(s, x, NONE);
    x->joined = NONE;
    x->again = 0;
    give_up(s, k, t);
    if (i != NONE && !is_gone(s, i, machine)) {
        Lane *lane = &s->lanes[i];
        freed[i] = 1;
        if (stage <= COMPUTING) prompt_done(s, i, prompt, 0);
        sent(s, i, prompt);
        if (stage == QUEUED) remove_from(&lane->queue, k);
        else {
            reserve(lane, -prompt, t);
            if (holds(&lane->prompts, k)) take_out(&lane->prompts, k);
            else if (stage == COMPUTING) {
                remove_from(&lane->queue, k);
                lane->computed = 0;
            }
        }
    }
    if (j != NONE && !is_gone(s, j, machine)) {
        Lane *target = &s->lanes[j];
        decode_off(s, j, whole);
        freed[j] = 1;
        if (stage == WAITING) remove_from(&target->waiting, k);
        else if (stage == MOVING || (stage == COMPUTING && s->job->policy.overflow)) {
            target->members--;
            reserve(target, -whole, t);
        }
    }
}

static void empty_lane(Lane *lane) {
    Ints blocked = lane->blocked;
    int64_t version = lane->version;
    free(lane->ends); free(lane->queue.at); free(lane->waiting.at); free(lane->prompts.at); free(lane->joining.at);
    free(lane->fresh.at); free(lane->order.at); free(lane->gap_steps); free(lane->gaps);
    memset(lane, 0, sizeof *lane);
    lane->blocked = blocked;
    lane->version = version;
}

static void sort_by_request(Sim *s, Ints *v) {
    /* Few: insertion sort needs no shared state where several simulations run side by side. */
    for (int32_t k = 1; k < v->n; k++) {
        int32_t x = v->at[k], m = k;
        while (m > 0 && s->slots[v->at[m - 1]].r > s->slots[x].r) { v->at[m] = v->at[m - 1]; m--; }
        v->at[m] = x;
    }
}

static void fail(Sim *s, int32_t machine, double t) {
    Ints touched = {0}, again = {0};
    uint8_t *freed = calloc((size_t)s->job->n_lanes, 1);
    if (!freed) { s->failed = 1; return; }
    for (int32_t k = 0; k < s->n_slots; k++) {
        Slot *x = &s->slots[k];
        if (x->used && (is_gone(s, x->prompt_lane, machine) || is_gone(s, x->decode_lane, machine))) push(s, &touched, k);
    }
    sort_by_request(s, &touched);
    for (int32_t i = 0; i < s->job->n_lanes; i++)
        if (is_gone(s, i, machine)) {
            int32_t pool = s->job->specs[i].pool;
            double own[INTEGRALS] = {0};
            add_integrals(&s->lanes[i], t, own);
            for (int m = 0; m < INTEGRALS; m++) s->lost[pool * INTEGRALS + m] += own[m];
            empty_lane(&s->lanes[i]);
            s->lanes[i].version++;
            s->lanes[i].reserved_since = t;
            if (holds(&s->mixed, i)) take_out(&s->mixed, i);
            else take_out(&s->pools[pool], i);
            s->pending[i] = s->promised[i] = s->to_send[s->job->specs[i].nic] = 0;
            freed[i] = 1;
        }
    for (int32_t n = 0; n < touched.n && !s->failed; n++) {
        int32_t k = touched.at[n], holder = s->slots[k].prompt_lane;
        if (holder == NONE || is_gone(s, holder, machine) || s->job->policy.overflow) {
            withdraw(s, k, machine, freed, t);
            push(s, &again, k);
        } else redirect(s, k, holder, t);
    }
    s->job->n_restarted += again.n;
    for (int32_t n = 0; n < again.n && !s->failed; n++) enqueue(s, again.at[n], t);
    for (int32_t i = 0; i < s->job->n_lanes && !s->failed; i++)
        if (freed[i]) {
            let_in(s, i, t);
            if (!is_gone(s, i, machine) && s->lanes[i].queue.n) wake(s, i, t);
        }
    Ints mixed = {0};
    for (int32_t k = 0; k < s->mixed.n; k++) push(s, &mixed, s->mixed.at[k]);
    for (int32_t k = 0; k < mixed.n; k++)
        if (s->lanes[mixed.at[k]].mode == IDLE && !s->pending[mixed.at[k]]) drained(s, mixed.at[k]);
    free(mixed.at); free(touched.at); free(again.at); free(freed);
}

static void drain(Sim *s, int32_t machine) {
    for (int32_t i = 0; i < s->job->n_lanes; i++)
        if (is_gone(s, i, machine)) {
            if (holds(&s->mixed, i)) take_out(&s->mixed, i);
            else take_out(&s->pools[s->job->specs[i].pool], i);
        }
}

static void repair(Sim *s, int32_t machine) {
    for (int32_t i = 0; i < s->job->n_lanes; i++)
        if (is_gone(s, i, machine)) {
            Ints *pool = &s->pools[s->job->specs[i].pool];
            push(s, pool, i);
            qsort(pool->at, (size_t)pool->n, sizeof(int32_t), compare_ints);
        }
}

/* -- the loop ----------------------------------------------------------------------------------------------------- */

EXPORT void planner_core_free(void *state) {
    Sim *s = state;
    if (!s) return;
    for (int32_t i = 0; s->lanes && i < s->job->n_lanes; i++) {
        empty_lane(&s->lanes[i]);
        free(s->lanes[i].blocked.at);
    }
    free(s->due);
    for (int32_t p = 0; s->pools && p < s->job->n_pools; p++) free(s->pools[p].at);
    for (int32_t e = 0; s->on && e < 2 * s->job->n_nics; e++) free(s->on[e].at);
    free(s->lanes); free(s->slots); free(s->free_slots.at); free(s->heap); free(s->pools); free(s->mixed.at);
    free(s->pending); free(s->promised); free(s->to_send); free(s->turn); free(s->lost); free(s->loads); free(s->ids.at);
    free(s->both.at); free(s->on); free(s->capacity); free(s->wanted); free(s->left.at); free(s->found.at);
    free(s->seen.at); free(s->is_seen); free(s->dirty.at); free(s->is_dirty); free(s->room); free(s->users); free(s->waiting.at); free(s->order.at);
    free(s->rates); free(s);
}

EXPORT void *planner_core_new(Job *job) {
    Sim *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    int32_t n = job->n_lanes, ports = 2 * job->n_nics;
    s->job = job;
    s->lanes = calloc((size_t)n, sizeof(Lane));
    s->pools = calloc((size_t)job->n_pools, sizeof(Ints));
    s->pending = calloc((size_t)n, sizeof(int64_t));
    s->promised = calloc((size_t)n, sizeof(int64_t));
    s->to_send = calloc((size_t)job->n_nics, sizeof(int64_t));
    s->turn = calloc((size_t)job->n_pools, sizeof(int64_t));
    s->lost = calloc((size_t)job->n_pools * INTEGRALS, sizeof(double));
    s->loads = calloc((size_t)n, sizeof(double));
    s->on = calloc((size_t)ports, sizeof(Ints));
    s->capacity = calloc((size_t)ports, sizeof(double));
    s->wanted = calloc((size_t)ports, sizeof(double));
    s->is_seen = calloc((size_t)ports, 1);
    s->is_dirty = calloc((size_t)ports, 1);
    s->room = calloc((size_t)ports, sizeof(double));
    s->users = calloc((size_t)ports, sizeof(int32_t));
    if (!s->lanes || !s->pools || !s->pending || !s->promised || !s->to_send || !s->turn || !s->lost || !s->loads || !s->on ||
        !s->capacity || !s->wanted || !s->is_seen || !s->is_dirty || !s->room || !s->users) {
        planner_core_free(s);
        return NULL;
    }
    for (int32_t e = 0; e < ports; e++) s->capacity[e] = job->nic_bytes_per_s[e % job->n_nics];
    for (int32_t i = 0; i < n; i++) push(s, &s->pools[job->specs[i].pool], i);
    for (int32_t w = 0; w < job->n_pools * job->n_pools; w++)
        if (job->wires[w].exists && job->wires[w].overlapped && job->policy.contention) s->sends_early = 1;
    for (int32_t f = 0; f < job->n_failures; f++) {
        int drains = job->failed_machine[f] < 0;
        int32_t machine = drains ? -1 - job->failed_machine[f] : job->failed_machine[f];
        add_event(s, job->failed_at_s[f], 2 * (int64_t)f, FAIL, machine, drains);
        if (job->repaired_s[f] < INFINITY) add_event(s, job->repaired_s[f], 2 * (int64_t)f + 1, REPAIR, machine, 0);
    }
    for (int32_t m = 0; m < job->n_samples; m++) add_event(s, job->sample_times[m], 2 * (int64_t)job->n_failures + m, SAMPLE, 0, 0);
    s->number = 2 * (int64_t)job->n_failures + job->n_samples;
    s->next_arrival = INFINITY;
    for (int64_t c = 0; c < job->n_clients && c < job->n_requests; c++) will_send(s, job->first_due_s[c]);
    if (s->failed) { planner_core_free(s); return NULL; }
    return s;
}

/* Runs until request `until` would arrive; with all of them arrived, until everything is done. Comes back before that
   after `most_events` events, to go on where it was: only between two calls can Ctrl-C be heard. */
EXPORT int planner_core_run(void *state, int64_t until, int64_t most_events) {
    Sim *s = state;
    Job *job = s->job;
    int64_t n = job->n_requests;
    while (!s->failed) {
        if (job->n_clients) s->next_arrival = next_of_clients(s);
        if ((s->next_arrival == INFINITY || job->n_clients) && job->r < n) {
            if (job->r >= until) { job->n_held = s->n_prompt_held + s->n_decode_held; return PAUSED_AT_ARRIVAL; }
            if (!job->n_clients) s->next_arrival = job->arrival_s[job->r];
        }
        if (s->n_heap && s->heap[0].t <= s->next_arrival) {
            if (most_events-- <= 0) { job->n_held = s->n_prompt_held + s->n_decode_held; return PAUSED_AT_EVENT; }
            Event e = next_event(s);
            job->now = e.t;
            if (e.kind == BOUNDARY) {
                if (s->lanes[e.a].version == e.b) boundary(s, e.a, e.t);
            } else if (e.kind == JOIN) {
                if (s->slots[e.b].moving == e.number) { s->slots[e.b].moving = NONE; joined(s, (int32_t)e.b, e.a, e.t); }
            } else if (e.kind == SENT) {
                Slot *x = &s->slots[e.a];
                if (x->sending && x->version == e.b) {
                    end_transfer(s, e.a, e.t);
                    double latency = wire_of(s, x->prompt_lane, x->decode_lane)->latency_s;
                    arrives(s, e.a, x->decode_lane, e.t + latency);
                }
            } else if (e.kind == EARLY) {
                if (s->slots[e.b].early == e.number) send_early(s, (int32_t)e.b, e.a, e.t);
            } else if (job->r == n && !s->n_prompt_held && !s->n_decode_held) break;
            else if (e.kind == SAMPLE) {
                job->sample_s[job->n_sampled] = e.t;
                integrals(s, e.t, job->samples + job->n_sampled * job->n_pools * INTEGRALS);
                job->n_sampled++;
            } else if (e.kind == FAIL && e.b) drain(s, e.a);
            else if (e.kind == FAIL) fail(s, e.a, e.t);
            else repair(s, e.a);
        } else if (s->next_arrival < INFINITY) {
            int64_t r = job->r;
            job->now = s->next_arrival;
            if (job->n_clients) {
                s->front_end_free_s = job->now;
                job->sent_s[r] = next_due(s);
            }
            if (!job->skip[r]) {
                int32_t k = new_slot(s, r);
                if (k != NONE) enqueue(s, k, job->now);
            } else answered(s, r, job->now);
            job->r++;
            s->next_arrival = INFINITY;
            if (job->r == n) { integrals(s, job->now, job->totals); job->totals_known = 1; }
        } else break;
    }
    job->n_held = s->n_prompt_held + s->n_decode_held;
    return s->failed ? OUT_OF_MEMORY : DONE;
}

/* Bytes of a job, by which Python knows a core that was compiled from other sources. */
EXPORT int64_t planner_core_job_bytes(void) { return (int64_t)sizeof(Job); }

/* The integrals so far, for a run that was interrupted. */
EXPORT void planner_core_totals(void *state) {
    Sim *s = state;
    integrals(s, s->job->now, s->job->totals);
}
