/* A service under CPU quota, event by event: what the latency surrogate is fitted to.
 *
 * Requests arrive by a Poisson process and wait for one of `threads` threads, first come first served. A thread
 * works half of the request's CPU demand, waits for downstream without CPU, and works the other half (without a
 * wait: all of it at once). Up to `cores` threads run at once, in order of readiness, each at full speed, until
 * the quota of the 100 ms period is used up; then all of them stand still until the next period (Linux CFS
 * bandwidth control, Documentation/scheduler/sched-bwc.rst).
 *
 * simulate() runs many services, each for 5 s that do not count and then for its window.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PERIOD 0.1
#define WARM_UP 5.0
#define EPSILON 1e-9

enum { RATE, CPU, HEAVY_SHARE, HEAVY_RATIO, SPREAD, WAIT, WAIT_SPREAD, LIMIT, CORES, THREADS, WINDOW, INPUTS };
enum { COMPLETED, USED, THROTTLED, P50, P90, P95, P99, OUTPUTS };

static _Thread_local uint64_t state[2];

static uint64_t rotate(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static double uniform(void) { /* xoroshiro128+ */
  uint64_t a = state[0], b = state[1], sum = a + b;
  b ^= a;
  state[0] = rotate(a, 24) ^ b ^ (b << 16);
  state[1] = rotate(b, 37);
  return ((sum >> 11) + 0.5) / 9007199254740992.0;
}

static double normal(void) { return sqrt(-2 * log(uniform())) * cos(2 * M_PI * uniform()); }

static double lognormal(double mean, double cv) {
  double variance = log(1 + cv * cv);
  return mean * exp(sqrt(variance) * normal() - variance / 2);
}

static int ascending(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static double quantile(const double *sorted, int n, double level) {
  double at = level * (n - 1);
  int below = (int)at;
  return below + 1 < n ? sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]) : sorted[n - 1];
}

typedef struct {
  int size, arrived, started, finished, busy;
  double *arrival, *work, *wait, *left, *latency, *awake;
  int *second_half, *ready, *waiting, ready_count, waiting_count;
} Service;

static void draw(Service *s, const double *in, double end) {
  int most = (int)(in[RATE] * end + 6 * sqrt(in[RATE] * end) + 20);
  double light = in[CPU] / (1 + in[HEAVY_SHARE] * (in[HEAVY_RATIO] - 1)), at = 0;
  double *numbers = malloc(sizeof(double) * 5 * most);
  memset(s, 0, sizeof *s);
  s->arrival = numbers, s->work = numbers + most, s->wait = numbers + 2 * most;
  s->left = numbers + 3 * most, s->latency = numbers + 4 * most;
  s->second_half = malloc(sizeof(int) * most);
  s->ready = malloc(sizeof(int) * ((int)in[THREADS] + 1));
  s->waiting = malloc(sizeof(int) * ((int)in[THREADS] + 1));
  s->awake = malloc(sizeof(double) * ((int)in[THREADS] + 1));
  while (s->size < most && (at -= log(uniform()) / in[RATE]) < end) {
    s->arrival[s->size] = at;
    s->work[s->size] = lognormal(uniform() < in[HEAVY_SHARE] ? light * in[HEAVY_RATIO] : light, in[SPREAD]);
    s->wait[s->size++] = in[WAIT] > 0 ? lognormal(in[WAIT], in[WAIT_SPREAD]) : 0;
  }
}

static void release(Service *s) {
  free(s->arrival), free(s->second_half), free(s->ready), free(s->waiting), free(s->awake);
}

/* Moves what is due at `now` to the threads that are ready to run; returns when more is due, at most `until`. */
static double admit(Service *s, double now, int threads, double until) {
  while (s->arrived < s->size && s->arrival[s->arrived] <= now + EPSILON) s->arrived++;
  for (int i = 0; i < s->waiting_count;) {
    if (s->awake[i] > now + EPSILON) {
      i++;
      continue;
    }
    s->ready[s->ready_count++] = s->waiting[i];
    s->waiting[i] = s->waiting[--s->waiting_count];
    s->awake[i] = s->awake[s->waiting_count];
  }
  while (s->started < s->arrived && s->busy < threads) {
    int request = s->started++;
    s->busy++;
    s->second_half[request] = s->wait[request] <= 0;
    s->left[request] = s->second_half[request] ? s->work[request] : s->work[request] / 2;
    s->ready[s->ready_count++] = request;
  }
  if (s->arrived < s->size && s->arrival[s->arrived] < until) until = s->arrival[s->arrived];
  for (int i = 0; i < s->waiting_count; i++)
    if (s->awake[i] < until) until = s->awake[i];
  return until;
}

/* Takes what the first `running` threads have finished off the CPU. */
static void retire(Service *s, int running, double now) {
  int kept = 0;
  for (int i = 0; i < running; i++) {
    int request = s->ready[i];
    if (s->left[request] > EPSILON) {
      s->ready[kept++] = request;
    } else if (s->second_half[request]) {
      if (now > WARM_UP) s->latency[s->finished++] = now - s->arrival[request];
      s->busy--;
    } else {
      s->second_half[request] = 1;
      s->left[request] = s->work[request] / 2;
      s->awake[s->waiting_count] = now + s->wait[request];
      s->waiting[s->waiting_count++] = request;
    }
  }
  memmove(s->ready + kept, s->ready + running, sizeof(int) * (s->ready_count - running));
  s->ready_count -= running - kept;
}

static void simulate_one(const double *in, double *out) {
  Service s;
  int cores = (int)in[CORES], periods = 0, throttled = 0, stalled = 0;
  double end = WARM_UP + in[WINDOW], quota = in[LIMIT] * PERIOD, now = 0, next = PERIOD, used = 0;
  draw(&s, in, end);
  while (now < end) {
    while (now >= next - EPSILON) {
      if (next > WARM_UP) periods++, throttled += stalled;
      stalled = 0, quota = in[LIMIT] * PERIOD, next += PERIOD;
    }
    double until = admit(&s, now, (int)in[THREADS], next);
    int running = s.ready_count < cores ? s.ready_count : cores;
    if (!running || quota <= EPSILON) {
      stalled |= running > 0;
      now = until;
      continue;
    }
    double step = fmin(until - now, quota / running);
    for (int i = 0; i < running; i++) step = fmin(step, s.left[s.ready[i]]);
    step = fmax(step, EPSILON);
    for (int i = 0; i < running; i++) s.left[s.ready[i]] -= step;
    quota -= step * running, now += step;
    if (now > WARM_UP) used += step * running;
    retire(&s, running, now);
  }
  qsort(s.latency, s.finished, sizeof(double), ascending);
  out[COMPLETED] = s.finished, out[USED] = used / in[WINDOW];
  out[THROTTLED] = periods ? (double)throttled / periods : 0;
  static const double levels[] = {0.5, 0.9, 0.95, 0.99};
  for (int i = 0; i < 4; i++) out[P50 + i] = s.finished > 1 ? quantile(s.latency, s.finished, levels[i]) : -1;
  release(&s);
}

/* Simulates `count` services: `inputs` has INPUTS columns and `outputs` OUTPUTS, row by row, in seconds and cores. */
void simulate(int count, const double *inputs, double *outputs, uint64_t seed) {
  state[0] = seed * 0x9E3779B97F4A7C15u + 1;
  state[1] = seed ^ 0xD1B54A32D192ED03u;
  for (int i = 0; i < 20; i++) uniform();
  for (int i = 0; i < count; i++) simulate_one(inputs + INPUTS * i, outputs + OUTPUTS * i);
}
