"""The Lua scripts, each one atomic step. What clients send is never part of a script or a pattern.

The keys, after the prefix of the store:

======== =================================================================================
``g:``   a grant as JSON, by its id
``c:``   the id of a code's grant, by the code
``f:``   the id of a family's grant, by the family of its refresh tokens
``a:``   an access token as JSON, by the token
``r:``   a pair of tokens as JSON, by its refresh token
``y:``   the pair that was issued for a refresh token, with its answer, while it may be retried
``u:``   sorted set: the ids of a user's grants, by creation
``k:``   sorted set: the ids of a client's grants, by creation
``all``  sorted set: the ids of all grants, by creation
``p:``   sorted set: the ids of the grants of a user with a client, by last use
``x``    sorted set: all grants with their user and client, by expiry
``t:``   sorted set: the keys of what a grant without a family has used, by the end of their life
======== =================================================================================

Codes, tokens and names are in keys by their digests. A grant that an earlier release has made may have
no family. Then ``r:`` also holds its used pairs.

No script looks at more than some hundred elements, since Redis answers no other request while it runs.
"""

from __future__ import annotations

#: The server's time, in milliseconds.
_TIME = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""

#: Returns the server's time, for a step that has read nothing.
NOW = _TIME + "return now()"

#: Writes a key that expires after a minute, to see whether the server takes writes.
WRITE = "redis.call('SET', KEYS[1], '', 'EX', 60)"

#: Deletes a grant with all that belongs to it. A used pair without its grant is of no use, and Redis
#: expires it itself. Where a channel is given, the grant's id is published there. That comes first, so
#: that the step is not half done where publishing is forbidden.
_END = """
local function leave(prefix, entry)
  local user, client, id = string.match(entry, '(%S+) (%S+) (.*)')
  redis.call('ZREM', prefix .. 'u:' .. user, id)
  redis.call('ZREM', prefix .. 'k:' .. client, id)
  redis.call('ZREM', prefix .. 'p:' .. user .. client, id)
  redis.call('ZREM', prefix .. 'all', id)
  redis.call('ZREM', prefix .. 'x', entry)
  return id
end
local function finish(prefix, id, channel)
  local text = redis.call('GET', prefix .. 'g:' .. id)
  if not text then return false end
  if channel then redis.call('PUBLISH', channel, id) end
  local grant = cjson.decode(text)
  redis.call('DEL', prefix .. 'g:' .. id, prefix .. 'c:' .. grant.code_digest)
  local own = {['r:'] = grant.live, ['a:'] = grant.access, ['f:'] = grant.family_digest}
  for kind, name in pairs(own) do
    if name ~= cjson.null then redis.call('DEL', prefix .. kind .. name) end
  end
  redis.call('UNLINK', prefix .. 't:' .. id)
  leave(prefix, grant.entry)
  return text
end
"""

#: Finds a code's grant. KEYS: the code, the family to be given to the grant. ARGV: prefix. Returns the
#: time, the grant, and the id of the grant that has the family.
FIND_CODE = (
    _TIME
    + """
local id = redis.call('GET', KEYS[1])
local grant = id and redis.call('GET', ARGV[1] .. 'g:' .. id)
return {now(), grant, redis.call('GET', KEYS[2])}
"""
)

#: Finds a refresh token's pair. KEYS: the pair, the pair that was issued for it, the family. ARGV:
#: prefix. Returns the time, the grant of the pair or else of the family, the id of the grant that has
#: the family, the pair, and the pair that was issued for it.
FIND_PAIR = (
    _TIME
    + """
local pair, owner = redis.call('GET', KEYS[1]), redis.call('GET', KEYS[3])
local id = owner
if pair then id = cjson.decode(pair).grant_id end
local grant = id and redis.call('GET', ARGV[1] .. 'g:' .. id)
return {now(), grant, owner, pair, redis.call('GET', KEYS[2])}
"""
)

#: Finds an access token and its grant. KEYS: the access token. ARGV: prefix.
FIND_ACCESS_TOKEN = """
local token = redis.call('GET', KEYS[1])
if not token then return {} end
return {token, redis.call('GET', ARGV[1] .. 'g:' .. cjson.decode(token).grant_id)}
"""

#: Writes, if no value has changed since it was read and it is not too late. Then it prolongs the life
#: of what a grant without a family has used, since each refresh prolongs the grant's own: by twice the
#: lifetime, so that it does so only once in a lifetime for each key.
#: KEYS: the keys that must not have changed. ARGV: the latest time, the commands as JSON, what to
#: prolong as JSON, then for each key the value that was read, or an empty string where there was none.
COMMIT = (
    _TIME
    + """
if now() > tonumber(ARGV[1]) then return 'late' end
for i, key in ipairs(KEYS) do
  if (redis.call('GET', key) or '') ~= ARGV[i + 3] then return 'changed' end
end
for _, command in ipairs(cjson.decode(ARGV[2])) do redis.call(unpack(command)) end
local keep = cjson.decode(ARGV[3])
local due = redis.call('ZRANGE', keep.set, '-inf', keep.needed, 'BYSCORE', 'LIMIT', 0, 100)
for _, key in ipairs(due) do
  redis.call('PEXPIRE', key, keep.milliseconds)
  redis.call('ZADD', keep.set, keep.kept, key)
end
redis.call('PEXPIRE', keep.set, keep.milliseconds)
return 'done'
"""
)

#: Adds a grant, and ends others where its user has too many with its client. KEYS: the grant, the set
#: of those grants. ARGV: the latest time, the commands as JSON, prefix, channel, how many grants there
#: may be, and how many this step may end. Returns the ids of those that it ended.
ADD_CODE = (
    _TIME
    + _END
    + """
if now() > tonumber(ARGV[1]) then return 'late' end
if redis.call('EXISTS', KEYS[1]) == 1 then return 'taken' end
local ended = {}
local beyond = math.min(redis.call('ZCARD', KEYS[2]) + 1 - ARGV[5], tonumber(ARGV[6]))
if beyond > 0 then
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, beyond - 1)) do
    if finish(ARGV[3], id, ARGV[4]) then ended[#ended + 1] = id end
    redis.call('ZREM', KEYS[2], id)
  end
end
for _, command in ipairs(cjson.decode(ARGV[2])) do redis.call(unpack(command)) end
return ended
"""
)

#: Ends a grant. ARGV: prefix, id, channel.
END = _END + "return finish(ARGV[1], ARGV[2], ARGV[3])"

#: Revokes a token of a client. KEYS: the token as an access token, as a refresh token, and its family
#: if it is a refresh token. ARGV: prefix, client, channel. Returns the grant.
REVOKE = (
    _END
    + """
local access = redis.call('GET', KEYS[1])
local token = access or redis.call('GET', KEYS[2])
local id = token and cjson.decode(token).grant_id or redis.call('GET', KEYS[3])
if not id then return false end
local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
if not grant or cjson.decode(grant).client_id ~= ARGV[2] then return false end
redis.call('PUBLISH', ARGV[3], id)
if access then redis.call('DEL', KEYS[1]) else finish(ARGV[1], id) end
return grant
"""
)

#: Whether a grant is of the wanted client and has the wanted scope; null: any.
_FITS = """
local wanted = cjson.decode(ARGV[2])
local function fits(grant)
  local client = string.match(grant.entry, '%S+ (%S+)')
  if wanted.client ~= cjson.null and client ~= wanted.client then return false end
  if wanted.scope == cjson.null then return true end
  for _, scope in ipairs(grant.scopes) do if scope == wanted.scope then return true end end
  return false
end
"""

#: The rank of the first element after a score and a member, which need not be in the set. Lua's own
#: comparison of strings follows the locale of the server; Redis sorts members byte by byte.
_RANK_AFTER = """
local function is_after(one, other)
  for i = 1, #one do
    local a, b = string.byte(one, i), string.byte(other, i)
    if a ~= b then return b == nil or a > b end
  end
  return false
end
local function rank_after(set, score, member)
  if score == '' then return 0 end
  local low = redis.call('ZCOUNT', set, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', set, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_after(redis.call('ZRANGE', set, middle, middle)[1], member) then high = middle
    else low = middle + 1 end
  end
  return low
end
"""

#: Lists grants of a sorted set. KEYS: the set. ARGV: prefix, what is wanted as JSON, the score and the
#: member after which it begins (empty: at the beginning), how many elements to look at, and how many
#: grants to find. Returns how many elements it looked at, the score and the member of the last one, and
#: the grants.
LIST = (
    _FITS
    + _RANK_AFTER
    + """
local first = rank_after(KEYS[1], ARGV[3], ARGV[4])
local range = redis.call('ZRANGE', KEYS[1], first, first + ARGV[5] - 1, 'WITHSCORES')
local looked_at, score, last, found = 0, ARGV[3], ARGV[4], {}
while looked_at < #range / 2 and #found < tonumber(ARGV[6]) do
  last, score = range[2 * looked_at + 1], range[2 * looked_at + 2]
  looked_at = looked_at + 1
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. last)
  if grant and fits(cjson.decode(grant)) then found[#found + 1] = grant end
end
return {looked_at, score, last, unpack(found)}
"""
)

#: Lists the clients of the grants of a range of a sorted set. KEYS: the set. ARGV: prefix, the first
#: and last rank.
CLIENTS = """
local seen, found = {}, {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
  local text = redis.call('GET', ARGV[1] .. 'g:' .. id)
  local client = text and cjson.decode(text).client_id
  if client and not seen[client] then
    seen[client] = true
    found[#found + 1] = client
  end
end
return found
"""

#: Lists grants of a user with a client whose code was exchanged, the last used first. KEYS: the set by
#: last use. ARGV: prefix, how many elements to look at, how many grants to find.
IN_USE = """
local found = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], 0, ARGV[2] - 1, 'REV')) do
  local text = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if text and cjson.decode(text).code_used then found[#found + 1] = text end
  if #found == tonumber(ARGV[3]) then break end
end
return found
"""

#: Counts grants of a range of a sorted set. KEYS: the set. ARGV: prefix, what is wanted as JSON, the
#: first and last rank.
COUNT = (
    _FITS
    + """
local count = 0
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[3], ARGV[4])) do
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if grant and fits(cjson.decode(grant)) then count = count + 1 end
end
return count
"""
)

#: Returns how many grants a sorted set has. Some may have expired. KEYS: the set.
SIZE = "return redis.call('ZCARD', KEYS[1])"

#: Finds a grant. ARGV: prefix, id.
FIND_GRANT = "return redis.call('GET', ARGV[1] .. 'g:' .. ARGV[2])"

#: Ends grants of a range of a sorted set. KEYS: the set. ARGV: prefix, what is wanted as JSON, the
#: first and last rank, channel. Returns the ids of those that it ended.
END_SOME = (
    _END
    + _FITS
    + """
local ended = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[3], ARGV[4])) do
  local grant = redis.call('GET', ARGV[1] .. 'g:' .. id)
  if grant and fits(cjson.decode(grant)) then
    finish(ARGV[1], id, ARGV[5])
    ended[#ended + 1] = id
  end
end
return ended
"""
)

#: Ends codes and refresh tokens of a range of a user's grants. KEYS: the user's set. ARGV: prefix, the
#: first and last rank, channel. It appends to the JSON, where the last value of a name counts: cjson
#: would write other values, such as large numbers, differently.
END_REFRESH_TOKENS = (
    _END
    + """
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], ARGV[2], ARGV[3])) do
  local key = ARGV[1] .. 'g:' .. id
  local text = redis.call('GET', key)
  local grant = text and cjson.decode(text)
  if grant and not grant.code_used then finish(ARGV[1], id, ARGV[4])
  elseif grant and grant.refresh_ended ~= true then
    redis.call('SET', key, string.sub(text, 1, -2) .. ', "refresh_ended": true}', 'KEEPTTL')
  end
end
"""
)

#: Deletes expired grants. Where Redis has expired a grant itself, only its elements of the sets are
#: left. KEYS: ``x``. ARGV: prefix, now, how many at most. Returns how many it deleted.
PRUNE = (
    _END
    + """
local expired = redis.call('ZRANGE', KEYS[1], '-inf', ARGV[2], 'BYSCORE', 'LIMIT', 0, ARGV[3])
for _, entry in ipairs(expired) do
  finish(ARGV[1], leave(ARGV[1], entry))
end
return #expired
"""
)

#: How many grants have expired that `PRUNE` has not deleted. KEYS: ``x``. ARGV: now.
COUNT_EXPIRED = "return redis.call('ZCOUNT', KEYS[1], '-inf', ARGV[1])"
