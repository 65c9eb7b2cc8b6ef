// Which outputs are on: sessions, sequence, arming by zero and the dead-man. Pure: compiles on any host, `now` is an argument.
#pragma once

#include <stdint.h>

#include "frame.h"

class Switchboard {
 public:
  explicit Switchboard(uint32_t now_ms) : fed_at_ms_(now_ms) {}

  // Takes a command over; false when it is refused, which changes nothing and feeds nothing.
  bool obey(const Command &command, uint32_t now_ms);

  // Lets the dead-man act when it is time; call it often.
  void watch(uint32_t now_ms);

  uint32_t session() const { return session_; }
  uint32_t seq() const { return seq_; }
  uint8_t mask() const { return mask_; }
  uint8_t flags() const;  // all but FLAG_WATCHDOG

 private:
  uint32_t fed_at_ms_;
  uint32_t session_ = 0;
  uint32_t seq_ = 0;
  uint8_t mask_ = 0;
  bool armed_ = false;
  bool deadman_ = false;
};
