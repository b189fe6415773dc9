#include "engine/zone/zone.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

namespace weir::zone {

namespace {

constexpr uint64_t kMagic = 0x31656e6f7a726977;  // "wirzone1"
constexpr uint32_t kVersion = 1;

}  // namespace

namespace {

// At the start of every zone.
struct Header {
  uint64_t magic = 0;
  uint32_t version = 0;
  uint32_t holder = 0;  // process that has the lock, or had it last
  uint64_t size = 0;
  pthread_mutex_t mutex;
  uint64_t hash_key[2] = {0, 0};
  uint64_t epoch = 1;
  Place root = 0;
  Slab slab;
};

Header& header_of(char* base) {
  return *reinterpret_cast<Header*>(base);
}

bool make_mutex(pthread_mutex_t& mutex) {
  pthread_mutexattr_t attributes;
  if (pthread_mutexattr_init(&attributes) != 0) return false;
  bool made = pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) == 0 &&
              pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) == 0 &&
              pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK) == 0;
  made = made && pthread_mutex_init(&mutex, &attributes) == 0;
  pthread_mutexattr_destroy(&attributes);
  return made;
}

bool format(char* base, uint64_t size) {
  Header& header = *new (base) Header();
  header.size = size;
  header.slab.format(sizeof(Header), size);
  if (getrandom(header.hash_key, sizeof header.hash_key, 0) !=
      static_cast<ssize_t>(sizeof header.hash_key)) {
    return false;
  }
  if (!make_mutex(header.mutex)) return false;
  header.version = kVersion;
  header.magic = kMagic;
  return true;
}

// Process numbers are asked for once: getpid() is a system call. Mappings are made after the fork.
uint32_t this_process = 0;

}  // namespace

int Mapping::create(const ZoneRequest& request) {
  if (request.size > kLargestZone) return -EFBIG;
  const int descriptor = memfd_create(("weir-zone-" + request.name).substr(0, 200).c_str(),
                                      MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (descriptor < 0) return -errno;
  int error = 0;
  if (ftruncate(descriptor, static_cast<off_t>(request.size)) != 0) error = errno;
  // A worker that could shrink it would end the others by SIGBUS.
  if (!error && fcntl(descriptor, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) != 0) {
    error = errno;
  }
  if (!error) {
    void* base = mmap(nullptr, request.size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (base == MAP_FAILED) {
      error = errno;
    } else {
      if (!format(static_cast<char*>(base), request.size)) error = ENOMEM;
      munmap(base, request.size);
    }
  }
  if (!error) return descriptor;
  ::close(descriptor);
  return -error;
}

std::shared_ptr<Mapping> Mapping::open(int descriptor, uint64_t size) {
  struct stat facts{};
  if (fstat(descriptor, &facts) != 0 || static_cast<uint64_t>(facts.st_size) != size ||
      size < sizeof(Header)) {
    return nullptr;
  }
  void* base = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (base == MAP_FAILED) return nullptr;
  this_process = static_cast<uint32_t>(getpid());
  std::shared_ptr<Mapping> mapping(new Mapping(static_cast<char*>(base), size));
  const Header& header = header_of(mapping->base_);
  const bool known = header.magic == kMagic && header.version == kVersion && header.size == size;
  return known ? mapping : nullptr;
}

Mapping::~Mapping() {
  munmap(base_, size_);
}

void Zone::attach(std::shared_ptr<Mapping> mapping) {
  mapping_ = std::move(mapping);
  if (!mapping_) return;
  mapping_->name_ = request.name;
  if (settle) settle(*mapping_);
}

bool Zone::attach_private() {
  const int descriptor = Mapping::create(request);
  if (descriptor < 0) return false;
  attach(Mapping::open(descriptor, request.size));
  ::close(descriptor);
  return mapping_ != nullptr;
}

bool is_alive(uint32_t process) {
  return kill(static_cast<pid_t>(process), 0) == 0 || errno != ESRCH;
}

uint32_t Lock::process() {
  return this_process;
}

Lock::Lock(Mapping& mapping) : mapping_(mapping) {
  Header& header = header_of(mapping_.base_);
  const int error = pthread_mutex_lock(&header.mutex);
  if (error == 0) [[likely]] {
    header.holder = this_process;
    return;
  }
  // Anything but a dead holder is a broken program (locked twice) or memory that somebody wrote
  // over: there is nothing to go on with.
  if (error != EOWNERDEAD) abort();
  const uint32_t dead = header.holder;
  pthread_mutex_consistent(&header.mutex);
  header.holder = this_process;
  empty();
  if (mapping_.on_emptied) mapping_.on_emptied(mapping_.name_, dead);
}

Lock::~Lock() {
  pthread_mutex_unlock(&header_of(mapping_.base_).mutex);
}

void Lock::empty() {
  Header& header = header_of(mapping_.base_);
  ++header.epoch;
  header.root = 0;
  header.slab.format(sizeof(Header), mapping_.size_);
}

Place Lock::allocate(size_t size) {
  return header_of(mapping_.base_).slab.allocate(mapping_.base_, size);
}

void Lock::free(Place place) {
  header_of(mapping_.base_).slab.free(mapping_.base_, place);
}

uint64_t Lock::epoch() const {
  return header_of(mapping_.base_).epoch;
}

Place& Lock::root() {
  return header_of(mapping_.base_).root;
}

size_t Lock::free_pages() const {
  return header_of(mapping_.base_).slab.free_pages(mapping_.base_);
}

uint64_t Lock::hash(std::string_view text) const {
  return keyed_hash(header_of(mapping_.base_).hash_key, text);
}

namespace {

struct Sip {
  uint64_t a, b, c, d;
  void round() {
    a += b;
    b = std::rotl(b, 13) ^ a;
    a = std::rotl(a, 32);
    c += d;
    d = std::rotl(d, 16) ^ c;
    a += d;
    d = std::rotl(d, 21) ^ a;
    c += b;
    b = std::rotl(b, 17) ^ c;
    c = std::rotl(c, 32);
  }
  void take(uint64_t word) {
    d ^= word;
    round();
    a ^= word;
  }
};

}  // namespace

uint64_t keyed_hash(const uint64_t (&key)[2], std::string_view text) {
  Sip state{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261,
            key[1] ^ 0x7465646279746573};
  size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, text.data() + at, 8);
    state.take(word);
  }
  uint64_t last = static_cast<uint64_t>(text.size()) << 56;
  for (size_t i = 0; at + i < text.size(); ++i) {
    last |= uint64_t{static_cast<unsigned char>(text[at + i])} << (8 * i);
  }
  state.take(last);
  state.c ^= 0xff;
  for (int i = 0; i < 3; ++i) state.round();
  return state.a ^ state.b ^ state.c ^ state.d;
}

}  // namespace weir::zone
