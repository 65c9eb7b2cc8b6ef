/* A Modbus RTU slave on libmodbus: every input register changes with every request, holdings hold what was written.
 * usage: slave DEVICE BAUDRATE UNIT. Prints "ready". The map is that of foreign.py, which knows what each read must give. */
#include <errno.h>
#include <modbus/modbus.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUTS = 30256, INPUTS_END = 30286, HOLDINGS = 41024, HOLDINGS_END = 41033 };
enum { READ_INPUTS = 4, WRITE_ONE = 6, REFUSED_FROM = 0x7000, REFUSED_TO = 0x7fff };

static int missing(int address)
{
    return address < INPUTS || (address >= 30258 && address <= 30261) || (address >= 30280 && address <= 30284) ||
           (address >= INPUTS_END && address < HOLDINGS) || address >= HOLDINGS_END;
}

static int hole_in(int address, int count)
{
    for (int i = 0; i < count; i++)
        if (missing(address + i))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return 64;
    modbus_t *line = modbus_new_rtu(argv[1], atoi(argv[2]), 'N', 8, 1);
    modbus_mapping_t *map = modbus_mapping_new_start_address(0, 0, 0, 0, HOLDINGS, HOLDINGS_END - HOLDINGS, INPUTS,
                                                             HOLDINGS_END - INPUTS);
    if (line == NULL || map == NULL || modbus_set_slave(line, atoi(argv[3])) == -1 || modbus_connect(line) == -1) {
        fprintf(stderr, "%s\n", modbus_strerror(errno));
        return 1;
    }
    puts("ready");
    fflush(stdout);

    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    unsigned served = 0;
    for (;;) {
        int length = modbus_receive(line, query);
        if (length == -1 && errno != EMBBADCRC && errno != ETIMEDOUT)
            return 2;
        if (length <= 0)
            continue;
        served++;
        int function = query[1], address = query[2] << 8 | query[3], second = query[4] << 8 | query[5];
        for (int i = 0; i < INPUTS_END - INPUTS; i++)
            map->tab_input_registers[i] = (uint16_t)((INPUTS + i) * 40503u + served * 31u);
        for (int i = 0; i < HOLDINGS_END - HOLDINGS; i++)
            map->tab_input_registers[HOLDINGS - INPUTS + i] = map->tab_registers[i];
        if (function == READ_INPUTS && hole_in(address, second))
            modbus_reply_exception(line, query, MODBUS_EXCEPTION_ILLEGAL_DATA_ADDRESS);
        else if (function == WRITE_ONE && second >= REFUSED_FROM && second <= REFUSED_TO)
            modbus_reply_exception(line, query, MODBUS_EXCEPTION_SLAVE_OR_SERVER_FAILURE);
        else
            modbus_reply(line, query, length, map);
    }
}
