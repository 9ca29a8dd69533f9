// Which network addresses belong to everybody, and which to this machine or its own network.
#pragma once

#include <sys/socket.h>

namespace wan {

/// Whether a host of the internet is there. False for this machine (loopback, 0.0.0.0), private, link-local and shared
/// networks, multicast, examples, addresses by which clouds tell a machine its secrets, and for those of IPv6 that stand
/// for such an address of IPv4 (mapped, NAT64, 6to4); false for other families than IPv4 and IPv6.
bool is_public_address(const sockaddr& address);

}  // namespace wan
