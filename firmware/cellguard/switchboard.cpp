#include "switchboard.h"

bool Switchboard::obey(const Command &command, uint32_t now_ms) {
  if (command.mask & ~protocol::ALL_OUTPUTS) return false;
  if (command.session == session_ && command.seq <= seq_) return false;
  if (command.session != session_) armed_ = false;
  if (!(command.mask & protocol::RELAYS)) armed_ = true;
  session_ = command.session;
  seq_ = command.seq;
  mask_ = armed_ ? command.mask : command.mask & protocol::COOLING;
  deadman_ = false;
  fed_at_ms_ = now_ms;
  return true;
}

void Switchboard::watch(uint32_t now_ms) {
  // once it holds only a command ends it; so the age may wrap meanwhile
  if (deadman_ || now_ms - fed_at_ms_ < protocol::DEADMAN_MS) return;
  deadman_ = true;
  armed_ = false;
  mask_ = protocol::COOLING;
}

uint8_t Switchboard::flags() const {
  return (deadman_ ? protocol::FLAG_DEADMAN : 0) | (armed_ ? 0 : protocol::FLAG_UNARMED);
}
