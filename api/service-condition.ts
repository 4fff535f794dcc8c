/** Conditions of a Service that the controller writes. */

/** Whether the Service has an address. */
export const ADDRESS_ASSIGNED = "metallb.io/AddressAssigned";
/** Whether its addresses are announced. */
export const ANNOUNCED = "metallb.io/Announced";
