// Behaves as the lab's old sketch does, traps included (PROTOCOL.md, version 1). For tests: do not flash it on a rig.

#ifndef V1_DELAY_MS
#define V1_DELAY_MS 1000
#endif
#ifndef V1_READ_TIMEOUT_MS
#define V1_READ_TIMEOUT_MS 1000
#endif

#include <avr/sleep.h>

// delay() calls this while it waits: sleeping until the next interrupt makes the simulated board cheap and changes nothing else
void yield() {
  set_sleep_mode(SLEEP_MODE_IDLE);
  sleep_mode();
}

static const uint8_t LONGEST_COMMAND = 30;
static const uint8_t OUTPUTS[] = {3, 4, 5, 6, 7};

static void print_sensors() {
  Serial.print("Ardu_Temp1:");
  Serial.print(analogRead(A0));
  Serial.print(",Ardu_Temp2:");
  Serial.print(analogRead(A1));
  Serial.print(",Ardu_Press:");
  Serial.println(analogRead(A2));
}

// `pin:value` pairs joined by `&`. There is no terminator: two commands that wait in the buffer become one wrong one.
static void obey(char *text) {
  for (char *pair = strtok(text, "&"); pair != NULL; pair = strtok(NULL, "&")) {
    char *colon = strchr(pair, ':');
    if (colon != NULL) digitalWrite(atoi(pair), atoi(colon + 1));
  }
}

void setup() {
  for (uint8_t pin : OUTPUTS) pinMode(pin, OUTPUT);
  Serial.begin(9600);
  Serial.setTimeout(V1_READ_TIMEOUT_MS);
}

void loop() {
  char text[LONGEST_COMMAND + 1];
  print_sensors();
  if (Serial.available()) {
    text[Serial.readBytes(text, LONGEST_COMMAND)] = '\0';
    obey(text);
  }
  delay(V1_DELAY_MS);
}
