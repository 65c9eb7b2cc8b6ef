// C names for the sketch's pure code, so that the host's tests can call it through ctypes.

#include <new>

#include "frame.h"
#include "switchboard.h"

extern "C" {

unsigned line_crc(const char *text, unsigned length) { return crc16(text, static_cast<uint8_t>(length)); }

LineReader *reader_new() { return new LineReader; }
void reader_delete(LineReader *reader) { delete reader; }

// 1: obeyed form, `out` is filled; 0: a line that is refused; -1: no line yet
int reader_feed(LineReader *reader, char byte, Command *out) {
  if (!reader->feed(byte)) return -1;
  const uint8_t body = framed_body(reader->text(), reader->length());
  return body && parse_command(reader->text() + 1, body, *out) ? 1 : 0;
}

unsigned status_line(const Status *status, char *line) { return format_status(*status, line); }

Switchboard *switchboard_new(uint32_t now_ms) { return new Switchboard(now_ms); }
void switchboard_delete(Switchboard *switchboard) { delete switchboard; }

int switchboard_obey(Switchboard *switchboard, uint32_t session, uint32_t seq, uint8_t mask, uint32_t now_ms) {
  return switchboard->obey(Command{session, seq, mask}, now_ms);
}

void switchboard_watch(Switchboard *switchboard, uint32_t now_ms) { switchboard->watch(now_ms); }
unsigned switchboard_mask(const Switchboard *switchboard) { return switchboard->mask(); }
unsigned switchboard_flags(const Switchboard *switchboard) { return switchboard->flags(); }

}  // extern "C"
