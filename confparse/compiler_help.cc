#include <algorithm>

#include "confparse/address.h"
#include "confparse/compiler.h"
#include "confparse/value.h"

// What we say beyond nginx about names that are unknown or misplaced.

namespace weir::conf {

namespace {

struct ContextName {
  Context context;
  const char* name;
};
constexpr ContextName kNames[] = {
    {kMain, "the top level of the file"},
    {kEvents, "events"},
    {kHttp, "http"},
    {kServer, "server"},
    {kLocation, "location"},
    {kUpstream, "upstream"},
    {kIfInServer, "if (in server)"},
    {kIfInLocation, "if (in location)"},
    {kLimitExcept, "limit_except"},
    {kStream, "stream"},
    {kStreamServer, "server (in stream)"},
    {kStreamUpstream, "upstream (in stream)"},
};

constexpr size_t kLongestName = 64;
// A directive's name is at most half as long again as what it is compared with.
constexpr size_t kRow = 2 * kLongestName;

// Number of letters to insert, remove, change, or swap with their neighbour; `most` + 1 when they
// are more. A file full of unknown names costs little: only cells that can still matter are filled.
size_t edit_distance(std::string_view a, std::string_view b, size_t most) {
  if (b.size() >= kRow) return most + 1;
  size_t rows[3][kRow];
  size_t* before = rows[0];
  size_t* row = rows[1];
  size_t* next = rows[2];
  for (size_t j = 0; j <= b.size(); ++j) before[j] = row[j] = j <= most ? j : most + 1;
  for (size_t i = 1; i <= a.size(); ++i) {
    std::fill_n(next, b.size() + 1, most + 1);
    if (i <= most) next[0] = i;
    size_t least = next[0];
    const size_t first = i > most ? i - most : 1;
    for (size_t j = first; j <= std::min(b.size(), i + most); ++j) {
      next[j] = std::min({row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        next[j] = std::min(next[j], before[j - 2] + 1);
      }
      least = std::min(least, next[j]);
    }
    // A swap looks one row further back, and adds one to it.
    if (least > most && *std::min_element(row, row + b.size() + 1) >= most) return most + 1;
    std::swap(before, row);
    std::swap(row, next);
  }
  return std::min(row[b.size()], most + 1);
}

bool looks_like_address(std::string_view text) {
  const std::string_view host = text.substr(0, text.find(':'));
  uint32_t ipv4 = 0;
  if (parse_ipv4(host, ipv4) || text.starts_with('[') || text.starts_with("unix:")) return true;
  // "backend:8080", "app.example.com"
  const size_t colon = text.find(':');
  if (colon != std::string_view::npos) return parse_number(text.substr(colon + 1)).has_value();
  return text.find('.') != std::string_view::npos;
}

bool is_ellipsis(std::string_view text) {
  return text.starts_with("...") || text.starts_with("\xe2\x80\xa6");
}

}  // namespace

std::string context_names(uint32_t where) {
  std::vector<const char*> names;
  for (const ContextName& entry : kNames) {
    if (where & entry.context) names.push_back(entry.name);
  }
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " or " : ", ";
    text += names[i];
  }
  return text;
}

std::string Compiler::help_misplaced(const Statement& statement) const {
  uint32_t where = 0;
  const auto [begin, end] = index_.equal_range(statement.name());
  for (auto row = begin; row != end; ++row) where |= row->second->where;
  return "it may stand in " + context_names(where);
}

std::string Compiler::help_unknown(const Statement& statement, const Scope& scope) const {
  const std::string_view name = statement.name();
  if (is_ellipsis(name)) {
    return "\"" + std::string(name.substr(0, 3)) +
           "\" stands for lines left out of an example: delete it or write them";
  }
  if ((scope.context() & (kUpstream | kStreamUpstream)) && looks_like_address(name)) {
    return "did you forget the word \"server\" before the address?";
  }
  if (name.starts_with("\xef\xbb\xbf")) {
    return "the file begins with a byte order mark: save it as UTF-8 without BOM";
  }
  if (name.starts_with("\xe2\x80\x9c") || name.starts_with("\xe2\x80\x9d")) {
    return "these are typographic quotes; use \" or '";
  }
  if (name.size() > kLongestName) return {};
  // A name that is valid here is better than one that is not; then the nearest.
  const size_t most = std::max<size_t>(1, name.size() / 3);
  const Directive* best = nullptr;
  std::pair<bool, size_t> best_rank{true, most + 1};
  for (const Module* module : modules_) {
    for (const Directive& directive : module->directives) {
      const size_t longer = std::max(directive.name.size(), name.size());
      const size_t shorter = std::min(directive.name.size(), name.size());
      if (longer - shorter > most) continue;
      const size_t distance = edit_distance(name, directive.name, most);
      const std::pair rank((directive.where & scope.context()) == 0, distance);
      if (distance > most || rank >= best_rank) continue;
      best = &directive;
      best_rank = rank;
    }
  }
  if (!best) return {};
  std::string help = "did you mean \"" + std::string(best->name) + "\"?";
  if (best_rank.first) help += " It may stand in " + context_names(best->where);
  return help;
}

}  // namespace weir::conf
