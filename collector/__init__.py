"""The collector on the PC: MQTT messages become points in a store, and receipts go back."""
