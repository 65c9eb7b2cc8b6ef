#include "frame.h"

namespace {

constexpr uint8_t CRC_DIGITS = 4;
constexpr uint8_t FRAME_CHARACTERS = 2 + CRC_DIGITS;  // `#`, `*` and the CRC

// Reads fields from the left; `ok` goes false at the first character that does not fit and stays so.
struct Reader {
  const char *at;
  const char *end;
  bool ok = true;

  Reader(const char *begin, const char *past) : at(begin), end(past) {}

  void literal(char wanted) {
    ok = ok && at < end && *at == wanted;
    if (ok) ++at;
  }

  uint32_t hex(uint8_t digits, bool upper, bool lower) {
    uint32_t value = 0;
    for (; digits > 0 && ok; --digits) {
      const char c = at < end ? *at++ : '\0';
      if (c >= '0' && c <= '9') value = value << 4 | uint8_t(c - '0');
      else if (upper && c >= 'A' && c <= 'F') value = value << 4 | uint8_t(c - 'A' + 10);
      else if (lower && c >= 'a' && c <= 'f') value = value << 4 | uint8_t(c - 'a' + 10);
      else ok = false;
    }
    return value;
  }

  // 1..4294967295 without leading zeros
  uint32_t decimal() {
    uint32_t value = 0;
    ok = ok && at < end && *at >= '1' && *at <= '9';
    for (; ok && at < end && *at >= '0' && *at <= '9'; ++at) {
      const uint8_t digit = *at - '0';
      ok = value < 429496729UL || (value == 429496729UL && digit <= 5);
      value = value * 10 + digit;
    }
    return value;
  }
};

char *put_hex(char *at, uint32_t value, uint8_t digits, char ten) {
  for (uint8_t left = digits; left > 0; --left, value >>= 4) {
    const uint8_t digit = value & 0x0F;
    at[left - 1] = digit < 10 ? '0' + digit : ten + digit - 10;
  }
  return at + digits;
}

char *put_decimal(char *at, uint32_t value) {
  char digits[10];
  uint8_t count = 0;
  do {
    digits[count++] = '0' + value % 10;
    value /= 10;
  } while (value > 0);
  while (count > 0) *at++ = digits[--count];
  return at;
}

char *put_field_hex(char *at, uint32_t value, uint8_t digits, char ten) {
  *at++ = ',';
  return put_hex(at, value, digits, ten);
}

char *put_field_decimal(char *at, uint32_t value) {
  *at++ = ',';
  return put_decimal(at, value);
}

}  // namespace

uint16_t crc16(const char *text, uint8_t length) {
  uint16_t crc = protocol::CRC_INITIAL;
  for (uint8_t i = 0; i < length; ++i) {
    crc ^= uint16_t(uint8_t(text[i])) << 8;
    for (uint8_t bit = 0; bit < 8; ++bit) crc = crc & 0x8000 ? crc << 1 ^ protocol::CRC_POLYNOMIAL : crc << 1;
  }
  return crc;
}

bool LineReader::feed(char byte) {
  if (complete_) {
    length_ = 0;
    too_long_ = complete_ = false;
  }
  if (byte == '\n') {
    complete_ = true;
  } else if (length_ < protocol::LONGEST_LINE - 1) {
    text_[length_++] = byte;
  } else {
    too_long_ = true;
  }
  return complete_;
}

uint8_t framed_body(const char *line, uint8_t length) {
  if (length > 0 && line[length - 1] == '\r') --length;
  if (length <= FRAME_CHARACTERS || line[0] != '#') return 0;
  const uint8_t body = length - FRAME_CHARACTERS;
  Reader tail(line + 1 + body, line + length);
  tail.literal('*');
  const uint32_t crc = tail.hex(CRC_DIGITS, true, false);
  return tail.ok && crc == crc16(line + 1, body) ? body : 0;
}

bool parse_command(const char *body, uint8_t length, Command &command) {
  Reader reader(body, body + length);
  reader.literal('C');
  reader.literal(',');
  command.session = reader.hex(8, false, true);
  reader.literal(',');
  command.seq = reader.decimal();
  reader.literal(',');
  command.mask = uint8_t(reader.hex(2, true, true));
  return reader.ok && reader.at == reader.end;
}

uint8_t format_status(const Status &status, char *line) {
  char *at = line;
  *at++ = '#';
  *at++ = 'S';
  at = put_field_hex(at, status.boot, 8, 'a');
  at = put_field_decimal(at, status.uptime_ms);
  at = put_field_hex(at, status.session, 8, 'a');
  at = put_field_decimal(at, status.seq);
  at = put_field_hex(at, status.mask, 2, 'A');
  at = put_field_hex(at, status.pins, 2, 'A');
  at = put_field_hex(at, status.flags, 2, 'A');
  for (uint16_t counts : status.adc) at = put_field_decimal(at, counts);
  at = put_field_decimal(at, status.ground_fault ? 1 : 0);
  at = put_field_decimal(at, status.bad);
  const uint16_t crc = crc16(line + 1, uint8_t(at - line - 1));
  *at++ = '*';
  at = put_hex(at, crc, CRC_DIGITS, 'A');
  *at++ = '\n';
  return uint8_t(at - line);
}
