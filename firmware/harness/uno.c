/* A simulated Uno (simavr's ATmega328P) that runs a real sketch, for the tests. It speaks lines on stdin and stdout.
 *
 *   uno SKETCH.elf [--live] [--reset-on-open] [--boot-loader MS] [--speed FACTOR] [--noise RATE]
 *
 * Without --live virtual time stands still until `run`; with it the UART is a pty and time is paced (FACTOR 1 = real time).
 * --noise disturbs that share of the bytes on the pty, in both directions.
 *
 * stdin:   adc CHANNEL MILLIVOLT | ground LEVEL | send HEX | reset | run MS | quit        (end of file quits too)
 * stdout:  pty PATH               where the UART is, --live only
 *          port STATE T            the host opened (1) or closed (0) the pty
 *          reset CAUSE T          the chip was reset; CAUSE is MCUSR as the sketch finds it
 *          pin N STATE T          STATE of digital pin N: 0, 1, or z while it is an input
 *          out HEX T              a line the sketch sent, with its line feed, not with --live
 *          ran T                  `run` is over
 * T is virtual time since the start in microseconds. `reset` pulls the reset line. With --boot-loader every reset finds MCUSR
 * cleared, as the Uno's own boot loader does it, and a reset by the line leaves the board mute for MS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "avr_adc.h"
#include "avr_extint.h"
#include "avr_ioport.h"
#include "avr_uart.h"
#include "sim_avr.h"
#include "sim_elf.h"

enum {
  HERTZ = 16000000,
  CYCLES_PER_US = 16,
  POLL_CYCLES = 4000,       /* look at stdin and the pty every 0.25 ms */
  LONGEST_COMMAND = 65536,
  QUEUE_BYTES = 32768,
  LONGEST_OUT = 128,
  GROUND_PIN = 2,
  FIRST_OUTPUT = 3,
  PORT_D_PINS = 8,
  MCUSR = 0x54,             /* addresses of the ATmega328P in data space */
  MCUSR_EXTERNAL = 0x02,
  UCSR0A = 0xC0,
  UCSR0A_DOUBLE_SPEED = 0x02,
  UBRR0L = 0xC4,
  UBRR0H = 0xC5,
  BITS_PER_BYTE = 11,       /* simavr counts a parity bit; sending faster than it receives would fill its FIFO */
};

static avr_t *avr;
static bool live, reset_on_open, has_boot_loader;
static avr_cycle_count_t boot_loader_cycles, mute_until, run_until;
static double speed = 1.0, noise = 0.0;

static int master = -1;
static bool port_open;
static uint8_t queue[QUEUE_BYTES];
static size_t queued_in, queued_out;
static avr_cycle_count_t next_byte;

static uint8_t out[LONGEST_OUT];
static size_t out_length;
static avr_irq_t *port_irq, *direction_irq;
static uint8_t port_d, direction_d;
static char pin_states[PORT_D_PINS];

static void fail(const char *what) {
  fprintf(stderr, "uno: %s\n", what);
  exit(1);
}

static unsigned long long now_us(void) { return avr->cycle / CYCLES_PER_US; }

static uint8_t disturbed(uint8_t byte) { return noise > 0.0 && drand48() < noise ? byte ^ 1 << lrand48() % 8 : byte; }

/* ---- what the chip does ---- */

static void say_pins(void) {
  for (int pin = FIRST_OUTPUT; pin < PORT_D_PINS; ++pin) {
    const char state = !(direction_d >> pin & 1) ? 'z' : port_d >> pin & 1 ? '1' : '0';
    if (state != pin_states[pin]) printf("pin %d %c %llu\n", pin, state, now_us());
    pin_states[pin] = state;
  }
}

static void on_port(avr_irq_t *irq, uint32_t value, void *param) {
  (void)irq, (void)param;
  port_d = value;
  say_pins();
}

static void on_direction(avr_irq_t *irq, uint32_t value, void *param) {
  (void)irq, (void)param;
  direction_d = value;
  say_pins();
}

static void say_out(void) {
  if (out_length == 0) return;
  printf("out ");
  for (size_t i = 0; i < out_length; ++i) printf("%02x", out[i]);
  printf(" %llu\n", now_us());
  out_length = 0;
}

static void on_uart(avr_irq_t *irq, uint32_t value, void *param) {
  (void)irq, (void)param;
  const uint8_t byte = disturbed(value);
  if (live) {
    if (port_open && write(master, &byte, 1) < 0 && errno != EAGAIN && errno != EIO) fail("cannot write to the pty");
    return;
  }
  out[out_length++] = byte;
  if (byte == '\n' || out_length == LONGEST_OUT) say_out();
}

static void after_reset(void) {
  if (has_boot_loader) avr->data[MCUSR] = 0;
  avr_raise_irq(port_irq, 0); /* simavr tells only changes, and it forgets to tell this one */
  avr_raise_irq(direction_irq, 0);
  printf("reset %02x %llu\n", avr->data[MCUSR], now_us());
}

static void pull_reset(void) {
  avr_reset(avr);
  avr->data[MCUSR] = MCUSR_EXTERNAL;
  queued_in = queued_out = 0;
  mute_until = avr->cycle + boot_loader_cycles;
  after_reset();
}

/* ---- what reaches the chip ---- */

static void set_ground(int level) {
  avr_ioport_external_t external = {.name = 'D', .mask = 1 << GROUND_PIN, .value = level ? 1 << GROUND_PIN : 0};
  avr_ioctl(avr, AVR_IOCTL_IOPORT_SET_EXTERNAL('D'), &external);
  avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), GROUND_PIN), level ? 1 : 0);
}

static void enqueue(uint8_t byte) {
  if (queued_in - queued_out == QUEUE_BYTES) fail("more bytes than fit the queue");
  queue[queued_in++ % QUEUE_BYTES] = byte;
}

static void send_hex(const char *hex) {
  unsigned byte;
  for (; sscanf(hex, "%2x", &byte) == 1 && hex[0] && hex[1]; hex += 2) enqueue(byte);
}

static void obey(char *line) {
  int first, second;
  if (sscanf(line, "adc %d %d", &first, &second) == 2) {
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_ADC_GETIRQ, ADC_IRQ_ADC0 + (first & 7)), second);
  } else if (sscanf(line, "ground %d", &first) == 1) {
    set_ground(first);
  } else if (strncmp(line, "send ", 5) == 0) {
    send_hex(line + 5);
  } else if (sscanf(line, "run %d", &first) == 1) {
    run_until = avr->cycle + (avr_cycle_count_t)first * 1000 * CYCLES_PER_US;
  } else if (strcmp(line, "reset") == 0) {
    pull_reset();
  } else if (strcmp(line, "quit") == 0) {
    exit(0);
  } else {
    fail("a command it does not know");
  }
}

/* One read of stdin; the rest of a line is kept. Stops after `run`, which must be over before the next command. */
static void read_commands(void) {
  static char pending[LONGEST_COMMAND];
  static size_t length;
  if (!memchr(pending, '\n', length)) {
    const ssize_t got = read(STDIN_FILENO, pending + length, sizeof pending - length);
    if (got == 0) exit(0);
    if (got < 0) return;
    length += got;
  }
  char *end;
  while (avr->cycle >= run_until && (end = memchr(pending, '\n', length))) {
    *end = '\0';
    obey(pending);
    length -= end + 1 - pending;
    memmove(pending, end + 1, length);
  }
  if (length == sizeof pending) fail("a command too long");
}

static void read_pty(void) {
  struct pollfd state = {.fd = master, .events = POLLIN};
  poll(&state, 1, 0);
  const bool open_now = !(state.revents & POLLHUP);
  if (open_now != port_open) printf("port %d %llu\n", open_now, now_us());
  if (open_now && !port_open && reset_on_open) pull_reset();
  port_open = open_now;
  uint8_t bytes[256];
  const ssize_t got = state.revents & POLLIN ? read(master, bytes, sizeof bytes) : 0;
  for (ssize_t i = 0; i < got; ++i) enqueue(disturbed(bytes[i]));
}

/* One byte per byte time of the sketch's own baud rate; the boot loader swallows what comes before the sketch runs. */
static void deliver(void) {
  if (avr->cycle < mute_until) {
    queued_out = queued_in;
  } else if (queued_out != queued_in && avr->cycle >= next_byte) {
    const unsigned divider = (avr->data[UBRR0L] | avr->data[UBRR0H] << 8) + 1;
    const unsigned bit_cycles = divider * (avr->data[UCSR0A] & UCSR0A_DOUBLE_SPEED ? 8 : 16);
    next_byte = avr->cycle + bit_cycles * BITS_PER_BYTE;
    avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT), queue[queued_out++ % QUEUE_BYTES]);
  }
}

/* ---- time ---- */

static double wall_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec + now.tv_nsec * 1e-9;
}

static void pace(void) {
  static double origin_s = -1.0;
  const double virtual_s = (double)avr->cycle / HERTZ / speed, wall = wall_s();
  if (origin_s < 0.0) origin_s = wall - virtual_s;
  const double ahead_s = origin_s + virtual_s - wall;
  if (ahead_s > 0.0) {
    const struct timespec rest = {.tv_sec = (time_t)ahead_s, .tv_nsec = (long)((ahead_s - (time_t)ahead_s) * 1e9)};
    nanosleep(&rest, NULL);
  } else if (ahead_s < -0.05) {
    origin_s -= ahead_s; /* a stalled host: go on from here instead of racing */
  }
}

static void step(void) {
  deliver();
  if (avr->cycle < mute_until) {
    avr->cycle += POLL_CYCLES;
    return;
  }
  const int state = avr_run(avr);
  if (state == cpu_Done || state == cpu_Crashed) fail("the sketch crashed");
  if (avr->pc == avr->reset_pc) after_reset();
}

static void run_live(void) {
  avr_cycle_count_t next_poll = 0;
  for (;;) {
    step();
    if (avr->cycle < next_poll) continue;
    next_poll = avr->cycle + POLL_CYCLES;
    read_pty();
    read_commands();
    fflush(stdout);
    pace();
  }
}

static void run_on_command(void) {
  for (;;) {
    read_commands();
    if (avr->cycle >= run_until) continue;
    while (avr->cycle < run_until) step();
    printf("ran %llu\n", now_us());
    fflush(stdout);
  }
}

/* ---- start ---- */

static void never_sleep(avr_t *chip, avr_cycle_count_t cycles) { (void)chip, (void)cycles; }

static void make_chip(const char *sketch) {
  static elf_firmware_t firmware;
  if (elf_read_firmware(sketch, &firmware)) fail("cannot read the sketch");
  avr = avr_make_mcu_by_name("atmega328p");
  if (!avr) fail("simavr does not know the ATmega328P");
  avr_init(avr);
  avr->log = LOG_NONE;
  avr_load_firmware(avr, &firmware);
  avr->frequency = HERTZ;
  avr->vcc = avr->avcc = avr->aref = 5000;
  avr->sleep = never_sleep;
  avr->run_cycle_limit = BITS_PER_BYTE * 16;
  for (int pin = 0; pin < 2; ++pin) avr_extint_set_strict_lvl_trig(avr, pin, 0); /* else a low pin 2 or 3 is polled every cycle */
  uint32_t flags = 0;
  avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
  avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT), on_uart, NULL);
  port_irq = avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), IOPORT_IRQ_REG_PORT);
  direction_irq = avr_io_getirq(avr, AVR_IOCTL_IOPORT_GETIRQ('D'), IOPORT_IRQ_DIRECTION_ALL);
  avr_irq_register_notify(port_irq, on_port, NULL);
  avr_irq_register_notify(direction_irq, on_direction, NULL);
}

static void open_pty(void) {
  int slave;
  char path[128];
  struct termios raw;
  if (openpty(&master, &slave, path, NULL, NULL) < 0) fail("no pty");
  tcgetattr(slave, &raw);
  cfmakeraw(&raw);
  tcsetattr(slave, TCSANOW, &raw);
  close(slave); /* so that a hang-up tells whether the host has the port open */
  fcntl(master, F_SETFL, O_NONBLOCK);
  fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
  printf("pty %s\n", path);
  fflush(stdout);
}

int main(int count, char **words) {
  if (count < 2) fail("which sketch?");
  for (int i = 2; i < count; ++i) {
    if (strcmp(words[i], "--live") == 0) live = true;
    else if (strcmp(words[i], "--reset-on-open") == 0) reset_on_open = true;
    else if (strcmp(words[i], "--boot-loader") == 0 && i + 1 < count) {
      has_boot_loader = true;
      boot_loader_cycles = (avr_cycle_count_t)atoi(words[++i]) * 1000 * CYCLES_PER_US;
    } else if (strcmp(words[i], "--speed") == 0 && i + 1 < count) speed = atof(words[++i]);
    else if (strcmp(words[i], "--noise") == 0 && i + 1 < count) noise = atof(words[++i]);
    else fail("an option it does not know");
  }
  make_chip(words[1]);
  if (live) {
    open_pty();
    run_live();
  } else {
    run_on_command();
  }
}
