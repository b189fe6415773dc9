#include "engine/net/datagram_slots.h"

#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <iterator>

namespace weir::net {
namespace {

// Multiplicative hashing (2^32 divided by the golden ratio).
constexpr uint32_t kFactor = 0x9E3779B1;
constexpr uint32_t kHashShift = 16;

constexpr uint32_t kNet = static_cast<uint32_t>(SKF_NET_OFF);
constexpr uint32_t kProtocol = static_cast<uint32_t>(SKF_AD_OFF + SKF_AD_PROTOCOL);
constexpr uint32_t kEthernetIp4 = 0x0800;
constexpr uint32_t kIp4Source = 12;
constexpr uint32_t kIp6NextHeader = 6;
constexpr uint32_t kIp6Source = 8;
constexpr uint32_t kIp6HeaderSize = 40;

uint32_t word_at(const char* bytes) {
  uint32_t word;
  std::memcpy(&word, bytes, sizeof word);
  return ntohl(word);
}

constexpr sock_filter statement(int code, uint32_t value) {
  return {static_cast<uint16_t>(code), 0, 0, value};
}
constexpr sock_filter jump(int code, uint32_t value, uint8_t yes, uint8_t no) {
  return {static_cast<uint16_t>(code), yes, no, value};
}
constexpr sock_filter load_word(uint32_t at) {
  return statement(BPF_LD | BPF_W | BPF_ABS, kNet + at);
}
constexpr sock_filter add_other() {
  return statement(BPF_ALU | BPF_ADD | BPF_X, 0);
}
constexpr sock_filter multiply() {
  return statement(BPF_ALU | BPF_MUL | BPF_K, kFactor);
}
constexpr sock_filter to_other() {
  return statement(BPF_MISC | BPF_TAX, 0);
}

}  // namespace

uint32_t datagram_slot(const Address& peer, uint32_t slots) {
  if (slots < 2) return 0;
  const Address address = peer.unmapped();
  const std::string_view binary = address.binary();
  uint32_t hash = 0;
  for (size_t at = 0; at + sizeof(uint32_t) <= binary.size(); at += sizeof(uint32_t)) {
    hash = (hash + word_at(binary.data() + at)) * kFactor;
  }
  hash = (hash + address.port()) * kFactor;
  return (hash >> kHashShift) % slots;
}

int set_datagram_slots(int descriptor, uint32_t slots) {
  // datagram_slot() in the kernel's words. A is the number so far, X what is added to it next, M[0]
  // the port. Headers are reached from the network header on: the data begins behind them.
  sock_filter program[] = {
      statement(BPF_LD | BPF_W | BPF_ABS, kProtocol),
      jump(BPF_JMP | BPF_JEQ | BPF_K, kEthernetIp4, 0, 6),
      // IPv4: its header has a length.
      statement(BPF_LDX | BPF_B | BPF_MSH, kNet),
      statement(BPF_LD | BPF_H | BPF_IND, kNet),
      statement(BPF_ST, 0),
      load_word(kIp4Source),
      multiply(),
      jump(BPF_JMP | BPF_JA, 20, 0, 0),
      // IPv6: an extension header (rare) hides the port.
      statement(BPF_LD | BPF_B | BPF_ABS, kNet + kIp6NextHeader),
      jump(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 0, 2),
      statement(BPF_LD | BPF_H | BPF_ABS, kNet + kIp6HeaderSize),
      jump(BPF_JMP | BPF_JA, 1, 0, 0),
      statement(BPF_LD | BPF_IMM, 0),
      statement(BPF_ST, 0),
      load_word(kIp6Source),
      multiply(),
      to_other(),
      load_word(kIp6Source + 4),
      add_other(),
      multiply(),
      to_other(),
      load_word(kIp6Source + 8),
      add_other(),
      multiply(),
      to_other(),
      load_word(kIp6Source + 12),
      add_other(),
      multiply(),
      // both
      statement(BPF_LDX | BPF_W | BPF_MEM, 0),
      add_other(),
      multiply(),
      statement(BPF_ALU | BPF_RSH | BPF_K, kHashShift),
      statement(BPF_ALU | BPF_MOD | BPF_K, slots == 0 ? 1 : slots),
      statement(BPF_RET | BPF_A, 0),
  };
  const sock_fprog filter{static_cast<unsigned short>(std::size(program)), program};
  if (::setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &filter, sizeof filter) == 0) {
    return 0;
  }
  return errno;
}

}  // namespace weir::net
