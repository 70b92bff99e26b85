/*
 * group_limit.c - how many one-row SELECTs a second libpq and the server can do
 * at most: groups of statements that end in one Sync, two groups in flight on
 * each connection, nothing done with the rows.
 *
 *   group_limit URL CONNECTIONS GROUP SECONDS
 *
 * Needs the table world that the benches make.  Prints statements a second.
 */
#include <libpq-fe.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LINKS_MAX = 64, GROUPS_IN_FLIGHT = 2, ROWS = 10000 };

static const double WARM_UP_SECONDS = 0.5;

struct link {
    PGconn *pq;
    unsigned groups; /* in flight */
};

struct run {
    struct link links[LINKS_MAX];
    struct pollfd polled[LINKS_MAX];
    unsigned n_links;
    unsigned group;
    unsigned long answers;
};

static void check(bool is_fine, PGconn *pq)
{
    if (is_fine)
        return;
    fprintf(stderr, "group_limit: %s", PQerrorMessage(pq));
    exit(EXIT_FAILURE);
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void open_link(struct link *link, const char *url)
{
    PGresult *result;

    link->pq = PQconnectdb(url);
    check(PQstatus(link->pq) == CONNECTION_OK, link->pq);
    result =
        PQprepare(link->pq, "one",
                  "SELECT id, randomnumber FROM world WHERE id = $1", 0, NULL);
    check(PQresultStatus(result) == PGRES_COMMAND_OK, link->pq);
    PQclear(result);
    check(PQsetnonblocking(link->pq, 1) == 0, link->pq);
    check(PQenterPipelineMode(link->pq) == 1, link->pq);
}

static void send_group(struct link *link, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        uint32_t id = htonl(1 + (uint32_t)rand() % ROWS);
        const char *values[] = { (const char *)&id };
        int lengths[] = { sizeof(id) };
        int formats[] = { 1 };

        check(PQsendQueryPrepared(link->pq, "one", 1, values, lengths, formats,
                                  1) == 1,
              link->pq);
    }
    check(PQpipelineSync(link->pq) == 1, link->pq);
    link->groups++;
}

static void take_result(struct run *run, struct link *link, PGresult *result)
{
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK: run->answers++; break;
    case PGRES_PIPELINE_SYNC: link->groups--; break;
    default: check(false, link->pq);
    }
    PQclear(result);
}

static void read_link(struct run *run, struct link *link)
{
    check(PQconsumeInput(link->pq) == 1, link->pq);
    while (link->groups > 0 && !PQisBusy(link->pq)) {
        PGresult *result = PQgetResult(link->pq);

        if (result != NULL) /* NULL ends a statement */
            take_result(run, link, result);
    }
    while (link->groups < GROUPS_IN_FLIGHT)
        send_group(link, run->group);
}

/* Sends what libpq still holds, when the socket takes it. */
static void watch(struct link *link, struct pollfd *polled)
{
    int left = PQflush(link->pq);

    check(left >= 0, link->pq);
    polled->fd = PQsocket(link->pq);
    polled->events = (short)(left > 0 ? POLLIN | POLLOUT : POLLIN);
}

static void turn(struct run *run)
{
    for (unsigned i = 0; i < run->n_links; i++)
        watch(&run->links[i], &run->polled[i]);
    if (poll(run->polled, run->n_links, 1000) < 1) {
        fprintf(stderr, "group_limit: no answer for a second\n");
        exit(EXIT_FAILURE);
    }
    for (unsigned i = 0; i < run->n_links; i++)
        if (run->polled[i].revents != 0)
            read_link(run, &run->links[i]);
}

static double answers_per_second(struct run *run, double seconds)
{
    double start = seconds_now();
    unsigned long before;

    while (seconds_now() - start < WARM_UP_SECONDS)
        turn(run);
    before = run->answers;
    start = seconds_now();
    while (seconds_now() - start < seconds)
        turn(run);
    return (double)(run->answers - before) / (seconds_now() - start);
}

int main(int argc, char **argv)
{
    static struct run run;
    double rate;

    if (argc != 5) {
        fprintf(stderr, "usage: group_limit URL CONNECTIONS GROUP SECONDS\n");
        return 2;
    }
    run.n_links = (unsigned)strtoul(argv[2], NULL, 10);
    run.group = (unsigned)strtoul(argv[3], NULL, 10);
    if (run.n_links < 1 || run.n_links > LINKS_MAX || run.group < 1)
        return 2;
    for (unsigned i = 0; i < run.n_links; i++) {
        open_link(&run.links[i], argv[1]);
        for (unsigned j = 0; j < GROUPS_IN_FLIGHT; j++)
            send_group(&run.links[i], run.group);
    }
    rate = answers_per_second(&run, strtod(argv[4], NULL));
    for (unsigned i = 0; i < run.n_links; i++)
        PQfinish(run.links[i].pq);
    printf("%.0f\n", rate);
    return EXIT_SUCCESS;
}
