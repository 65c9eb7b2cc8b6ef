// The Uno itself: output pins, inputs, watchdog, reset cause and boot id. The only file that touches registers.
#pragma once

#include <stdint.h>

namespace board {

void begin();  // after the outputs were driven low before main()

void write_outputs(uint8_t mask);  // the whole mask in one write to the port
uint8_t read_outputs();            // the same bits from the pins themselves
uint16_t read_adc(uint8_t channel);
bool ground_fault();

void rest();  // until the next interrupt, at most the millisecond of the clock
void feed_watchdog();
bool reset_by_watchdog();
uint32_t boot_id();  // drawn by begin()

}  // namespace board
