// The numbers of PROTOCOL.md, version 2, and what is wired to which pin of the Uno. The host's codec is tested against this file.
#pragma once

#include <stdint.h>

namespace protocol {

constexpr uint32_t BAUD = 115200;
constexpr uint8_t LONGEST_LINE = 96;  // characters with the line feed
constexpr uint16_t CRC_POLYNOMIAL = 0x1021;
constexpr uint16_t CRC_INITIAL = 0xFFFF;

constexpr uint16_t STATUS_PERIOD_MS = 100;
constexpr uint16_t DEADMAN_MS = 3500;

// output mask, and the digital pin of each bit
constexpr uint8_t PUMP = 0x01;
constexpr uint8_t FAN = 0x02;
constexpr uint8_t RELAY1 = 0x04;  // main +
constexpr uint8_t RELAY2 = 0x08;  // main -
constexpr uint8_t RELAY3 = 0x10;  // precharge
constexpr uint8_t COOLING = PUMP | FAN;
constexpr uint8_t RELAYS = RELAY1 | RELAY2 | RELAY3;
constexpr uint8_t ALL_OUTPUTS = COOLING | RELAYS;
constexpr uint8_t OUTPUT_PINS[] = {6, 7, 5, 3, 4};

// status flags
constexpr uint8_t FLAG_DEADMAN = 0x01;
constexpr uint8_t FLAG_WATCHDOG = 0x02;
constexpr uint8_t FLAG_UNARMED = 0x04;

// inputs: thermistors on A0 and A1, pressure on A2, current on A3; a normally closed ground-fault contact from pin 2 to GND
constexpr uint8_t ADC_CHANNELS[] = {0, 1, 2, 3};
constexpr uint8_t GROUND_FAULT_PIN = 2;

}  // namespace protocol
