#include "board.h"

#include <Arduino.h>
#include <avr/eeprom.h>
#include <avr/interrupt.h>
#include <avr/sleep.h>
#include <avr/wdt.h>

#include "protocol.h"

#if !defined(__AVR_ATmega328P__)
#error "the outputs are bits 3..7 of the ATmega328P's port D: build for the Uno"
#endif

namespace {

constexpr uint8_t OUTPUT_COUNT = sizeof protocol::OUTPUT_PINS;
constexpr uint8_t OUTPUT_BITS = 0xF8;  // pins 3..7 are bits 3..7 of port D
constexpr uint8_t NOISE_CHANNELS[] = {4, 5};
constexpr uint8_t NOISE_SAMPLES = 8;
constexpr uint32_t WATCHDOG_MARK = 0xD06B17E5;
constexpr uint32_t ERASED = 0xFFFFFFFF;
constexpr uint8_t COUNTER_SLOTS = 32;  // an EEPROM cell bears 100 000 writes: 3.2 million resets

// These survive a reset, and hold anything after power-up.
uint8_t reset_cause __attribute__((section(".noinit")));
uint32_t watchdog_mark __attribute__((section(".noinit")));
uint32_t drawn_boot_id __attribute__((section(".noinit")));

bool by_watchdog = false;

uint32_t *counter_slot(uint32_t count) {
  return reinterpret_cast<uint32_t *>((count % COUNTER_SLOTS) * sizeof(uint32_t));
}

// How often this chip was started. The highest slot is the count; a write torn by a power cut only makes it jump.
uint32_t count_boot() {
  uint32_t count = 0;
  for (uint8_t slot = 0; slot < COUNTER_SLOTS; ++slot) {
    const uint32_t stored = eeprom_read_dword(counter_slot(slot));
    if (stored != ERASED && stored > count) count = stored;
  }
  ++count;
  eeprom_update_dword(counter_slot(count), count);
  return count;
}

void mix(uint32_t &hash, uint32_t value) {
  for (uint8_t byte = 0; byte < 4; ++byte, value >>= 8) hash = (hash ^ (value & 0xFF)) * 16777619UL;  // FNV-1a
}

// The counter makes two boots of one board differ even where nothing is noisy; the rest tells two boards apart, and
// carries on when the EEPROM is worn out.
uint32_t draw_boot_id() {
  uint32_t hash = 2166136261UL;
  mix(hash, count_boot());
  mix(hash, drawn_boot_id);
  for (uint8_t sample = 0; sample < NOISE_SAMPLES; ++sample) {
    for (uint8_t channel : NOISE_CHANNELS) mix(hash, board::read_adc(channel));
  }
  mix(hash, micros());
  return hash;
}

// The Uno's own boot loader clears MCUSR before the sketch can see it; then only the mark tells of the watchdog.
bool find_watchdog() {
  const bool marked = watchdog_mark == WATCHDOG_MARK;
  watchdog_mark = 0;
  const bool others = reset_cause & (_BV(PORF) | _BV(EXTRF) | _BV(BORF));
  return !others && (marked || (reset_cause & _BV(WDRF)));
}

// After 0.25 s without feeding comes the interrupt, which switches off and resets; where interrupts are off, the second 0.25 s does.
void start_watchdog() {
  const uint8_t quarter_second = _BV(WDP2);
  cli();
  wdt_reset();
  WDTCSR = _BV(WDCE) | _BV(WDE);
  WDTCSR = _BV(WDIE) | _BV(WDE) | quarter_second;
  sei();
}

}  // namespace

// Before main(): outputs low first, then the watchdog off, which stays on at 16 ms after its own reset.
void outputs_off_first() __attribute__((naked, used, section(".init3")));
void outputs_off_first() {
  PORTD = 0;
  DDRD = OUTPUT_BITS;
  reset_cause = MCUSR;
  MCUSR = 0;
  wdt_disable();
}

ISR(WDT_vect) {
  PORTD &= ~OUTPUT_BITS;
  watchdog_mark = WATCHDOG_MARK;
  wdt_enable(WDTO_15MS);
  for (;;) {
  }
}

void board::begin() {
  pinMode(protocol::GROUND_FAULT_PIN, INPUT_PULLUP);
  analogReference(DEFAULT);
  by_watchdog = find_watchdog();
  drawn_boot_id = draw_boot_id();
  start_watchdog();
}

void board::write_outputs(uint8_t mask) {
  uint8_t bits = 0;
  for (uint8_t output = 0; output < OUTPUT_COUNT; ++output) {
    if (mask & _BV(output)) bits |= _BV(protocol::OUTPUT_PINS[output]);
  }
  PORTD = (PORTD & ~OUTPUT_BITS) | bits;
}

uint8_t board::read_outputs() {
  const uint8_t pins = PIND;
  uint8_t mask = 0;
  for (uint8_t output = 0; output < OUTPUT_COUNT; ++output) {
    if (pins & _BV(protocol::OUTPUT_PINS[output])) mask |= _BV(output);
  }
  return mask;
}

uint16_t board::read_adc(uint8_t channel) { return analogRead(channel); }

bool board::ground_fault() { return digitalRead(protocol::GROUND_FAULT_PIN) == HIGH; }

void board::rest() {
  set_sleep_mode(SLEEP_MODE_IDLE);
  sleep_mode();
}

void board::feed_watchdog() { wdt_reset(); }

bool board::reset_by_watchdog() { return by_watchdog; }

uint32_t board::boot_id() { return drawn_boot_id; }
