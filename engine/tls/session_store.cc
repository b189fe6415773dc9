#include "engine/tls/session_store.h"

#include <ctime>
#include <list>
#include <map>
#include <memory>
#include <unordered_map>

namespace weir::tls {
namespace {

// In this worker's own memory: the oldest make room.
class LocalStore final : public SessionStore {
 public:
  explicit LocalStore(size_t size) : limit_(size) {}

  void add(std::string_view id, std::string_view session, int64_t expires) override {
    if (session.size() > kLargestSession) return;
    remove(id);
    entries_.push_back({std::string(id), std::string(session), expires});
    index_[entries_.back().id] = std::prev(entries_.end());
    used_ += cost(entries_.back());
    while (used_ > limit_ && !entries_.empty()) erase(entries_.begin());
  }
  std::string find(std::string_view id) override {
    const auto found = index_.find(std::string(id));
    if (found == index_.end()) return {};
    if (found->second->expires <= std::time(nullptr)) {
      erase(found->second);
      return {};
    }
    return found->second->session;
  }
  void remove(std::string_view id) override {
    const auto found = index_.find(std::string(id));
    if (found != index_.end()) erase(found->second);
  }

 private:
  struct Entry {
    std::string id;
    std::string session;
    int64_t expires;
  };
  using Place = std::list<Entry>::iterator;
  static size_t cost(const Entry& entry) { return entry.session.size() + 128; }
  void erase(Place place) {
    used_ -= cost(*place);
    index_.erase(place->id);
    entries_.erase(place);
  }
  size_t limit_;
  size_t used_ = 0;
  std::list<Entry> entries_;
  std::unordered_map<std::string, Place> index_;
};

}  // namespace

SessionStore& SessionStore::named(const std::string& name, size_t size) {
  thread_local std::map<std::string, std::unique_ptr<SessionStore>> stores;
  auto& store = stores[name + ":" + std::to_string(size)];
  if (!store) store = std::make_unique<LocalStore>(size);
  return *store;
}

}  // namespace weir::tls
