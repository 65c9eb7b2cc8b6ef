// cellguard's sketch for the Arduino Uno: sensors at 10 Hz, pump, fan and three relays by PROTOCOL.md, version 2.
// The loop never waits: what cannot be sent at once is sent in a later pass.

#include "board.h"
#include "frame.h"
#include "protocol.h"
#include "switchboard.h"

static LineReader reader;
static Switchboard switchboard(0);
static uint16_t bad_frames = 0;
static uint32_t status_due_ms = 0;
static bool status_wanted = false;

static char line[protocol::LONGEST_LINE];
static uint8_t line_length = 0;
static uint8_t line_sent = 0;

#ifdef TEST_HANG
// test builds only: a frame that begins with `H` makes the sketch hang, as a defect would
static void hang_if_told(const char *body) {
  while (*body == 'H') {
  }
}
#endif

static void hear_line() {
  Command command;
  const uint8_t length = framed_body(reader.text(), reader.length());
#ifdef TEST_HANG
  if (length) hang_if_told(reader.text() + 1);
#endif
  if (length && parse_command(reader.text() + 1, length, command) && switchboard.obey(command, millis())) {
    board::write_outputs(switchboard.mask());
    status_wanted = true;
  } else {
    ++bad_frames;
  }
}

// At most one buffer of the UART in one pass, so that a flood cannot keep the loop from the dead-man.
static void hear() {
  for (uint8_t left = SERIAL_RX_BUFFER_SIZE; left > 0 && Serial.available(); --left) {
    if (reader.feed(Serial.read())) hear_line();
  }
}

static void write_status() {
  Status status;
  status.boot = board::boot_id();
  status.uptime_ms = millis();
  status.session = switchboard.session();
  status.seq = switchboard.seq();
  status.mask = switchboard.mask();
  status.pins = board::read_outputs();
  status.flags = switchboard.flags() | (board::reset_by_watchdog() ? protocol::FLAG_WATCHDOG : 0);
  for (uint8_t i = 0; i < sizeof protocol::ADC_CHANNELS; ++i) status.adc[i] = board::read_adc(protocol::ADC_CHANNELS[i]);
  status.ground_fault = board::ground_fault();
  status.bad = bad_frames;
  line_length = format_status(status, line);
  line_sent = 0;
}

static void speak() {
  if (int32_t(millis() - status_due_ms) >= 0) {
    status_due_ms += protocol::STATUS_PERIOD_MS;  // from its own schedule: no drift
    status_wanted = true;
  }
  if (status_wanted && line_sent == line_length) {
    status_wanted = false;
    write_status();
  }
  while (line_sent < line_length && Serial.availableForWrite() > 0) Serial.write(line[line_sent++]);
}

void setup() {
  board::begin();
  Serial.begin(protocol::BAUD);
}

void loop() {
  board::feed_watchdog();
  hear();
  switchboard.watch(millis());
  board::write_outputs(switchboard.mask());  // in every pass: a pin that a disturbance flipped is set right
  speak();
  if (!Serial.available()) board::rest();
}
