#pragma once

#include <cstdint>

#include "engine/net/address.h"

namespace weir::net {

// Which of the sockets of one UDP address (one for each worker slot, SO_REUSEPORT) a client's
// datagrams come to: a number made from its address and port, modulo the slots. The kernel is given
// this rule as a program, instead of its own: so sockets can be added before anybody reads them,
// and left behind when there are fewer workers, without one datagram coming to a socket that nobody
// reads.

// The slot, from 0.
uint32_t datagram_slot(const Address& peer, uint32_t slots);

// From now on the group that `descriptor` is in (bound with SO_REUSEPORT) uses its first `slots`
// sockets, in the order they were bound in. 0, or an errno where the kernel cannot do this
// (Linux 4.5 can); it then spreads clients over all of them.
int set_datagram_slots(int descriptor, uint32_t slots);

}  // namespace weir::net
