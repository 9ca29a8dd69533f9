#include "engine/fetch/public_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace wan {
namespace {

using Bytes = std::span<const uint8_t>;

struct Network {
  uint8_t bytes[16];
  int bits;
};

// Source: the special-purpose address registries of IANA, and the address of Azure's hosts for their guests.
constexpr Network kReservedV4[] = {
    {{0}, 8},
    {{10}, 8},
    {{100, 64}, 10},
    {{127}, 8},
    {{169, 254}, 16},
    {{172, 16}, 12},
    {{192, 0, 0}, 24},
    {{192, 0, 2}, 24},
    {{192, 88, 99}, 24},
    {{192, 168}, 16},
    {{198, 18}, 15},
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24},
    {{224}, 3},
    {{168, 63, 129, 16}, 32},
};
// Global addresses are in 2000::/3; below are exceptions there.
constexpr Network kGlobalV6 = {{0x20}, 3};
constexpr Network kReservedV6[] = {
    {{0x20, 0x01, 0x00}, 23},        // of protocols, with Teredo, which carries IPv4
    {{0x20, 0x01, 0x0d, 0xb8}, 32},  // documentation
    {{0x3f, 0xff}, 20},              // documentation
};
// Prefixes of IPv6 behind which an address of IPv4 follows.
constexpr Network kCarriers[] = {
    {{}, 96},                                          // compatible
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96},  // mapped
    {{0, 0x64, 0xff, 0x9b}, 96},                       // NAT64
    {{0x20, 0x02}, 16},                                // 6to4
};

bool lies_in(Bytes address, const Network& network) {
  const int whole = network.bits / 8, rest = network.bits % 8;
  if (!std::equal(address.begin(), address.begin() + whole, network.bytes)) return false;
  const uint8_t mask = uint8_t(0xff00 >> rest);
  return rest == 0 || (address[whole] & mask) == (network.bytes[whole] & mask);
}

bool is_public_v4(Bytes address) {
  return std::none_of(std::begin(kReservedV4), std::end(kReservedV4),
                      [&](const Network& network) { return lies_in(address, network); });
}

bool is_public_v6(Bytes address) {
  for (const Network& carrier : kCarriers)
    if (lies_in(address, carrier)) return is_public_v4(address.subspan(carrier.bits / 8, 4));
  return lies_in(address, kGlobalV6) && std::none_of(std::begin(kReservedV6), std::end(kReservedV6),
                                                     [&](const Network& network) { return lies_in(address, network); });
}

}  // namespace

bool is_public_address(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4;
    std::memcpy(&v4, &address, sizeof v4);
    return is_public_v4({reinterpret_cast<const uint8_t*>(&v4.sin_addr), 4});
  }
  if (address.sa_family != AF_INET6) return false;
  sockaddr_in6 v6;
  std::memcpy(&v6, &address, sizeof v6);
  return is_public_v6({v6.sin6_addr.s6_addr, 16});
}

}  // namespace wan
