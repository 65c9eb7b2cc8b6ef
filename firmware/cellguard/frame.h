// Text of the line: cutting bytes into lines, the CRC frame, commands in, status out. Pure: compiles on any host.
#pragma once

#include <stdint.h>

#include "protocol.h"

uint16_t crc16(const char *text, uint8_t length);

struct Command {
  uint32_t session;
  uint32_t seq;
  uint8_t mask;
};

struct Status {
  uint32_t boot;
  uint32_t uptime_ms;
  uint32_t session;
  uint32_t seq;
  uint8_t mask;
  uint8_t pins;
  uint8_t flags;
  uint16_t adc[sizeof protocol::ADC_CHANNELS];
  bool ground_fault;
  uint16_t bad;
};

// Collects one line. After feed() has said true, text() and length() are the line without its line feed, until the next feed().
// A line that is too long has length 0 and is no frame.
class LineReader {
 public:
  bool feed(char byte);
  const char *text() const { return text_; }
  uint8_t length() const { return too_long_ ? 0 : length_; }

 private:
  char text_[protocol::LONGEST_LINE];
  uint8_t length_ = 0;
  bool too_long_ = false;
  bool complete_ = false;
};

// The length of the BODY in `#BODY*CCCC`, which begins at line + 1; 0 when the form or the CRC is wrong.
uint8_t framed_body(const char *line, uint8_t length);

// Reads `C,SESSION,SEQ,MASK`; false when the form is wrong. A forbidden bit in MASK is for the switchboard to refuse.
bool parse_command(const char *body, uint8_t length, Command &command);

// Writes the framed line with its line feed; returns its length, never more than LONGEST_LINE.
uint8_t format_status(const Status &status, char *line);
