"""Lua scripts of the Redis token store. Redis runs each script as one atomic operation."""

from __future__ import annotations

ADD = """
local id, prefix, parent = ARGV[1], ARGV[3], ARGV[4]
local most, now = tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
local count = 0
for _, each in ipairs(most and redis.call('ZRANGE', KEYS[3], 0, -1) or {}) do
    local key = prefix .. 'token:' .. each
    local origin, expires = unpack(redis.call('HMGET', key, 'origin', 'expires'))
    if not expires then
        redis.call('ZREM', KEYS[3], each)
    elseif expires == '' or tonumber(expires) > now then
        if not origin then
            local fixed = redis.call('HGET', key, 'fixed') or ''
            origin = string.find(fixed, '"provider": "imported:', 1, true) and 'import' or ''
        end
        if origin == '' or origin == 'http' then count = count + 1 end
        if count >= most then return 2 end
    end
end
redis.call('HSET', KEYS[1], unpack(ARGV, 7))
redis.call('ZADD', KEYS[2], 0, id)
redis.call('ZADD', KEYS[3], 0, id)
if parent ~= '' then redis.call('ZADD', prefix .. 'children:' .. parent, 0, id) end
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[4], ARGV[2], id)
    redis.call('EXPIREAT', KEYS[1], math.floor(ARGV[2]) + 3600)
end
return 1
"""
"""
A Lua script that adds an API token: returns 1 if added, 0 if the id exists already, or 2 if the
owner has too many tokens.
"""

CHANGE = """
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
if ARGV[2] ~= '' then
    redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
    redis.call('EXPIREAT', KEYS[1], math.floor(ARGV[2]) + 3600)
end
return 1
"""
"""A Lua script that changes fields of an API token: returns 1, or 0 if the token does not exist."""

REMOVE = """
local prefix, most, share = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local usual, of_imported = ARGV[3], ARGV[4]
local function excess(set, bound)
    local count = redis.call('ZCOUNT', set, '-inf', usual)
    return count > bound and redis.call('ZRANGE', set, 0, count - bound - 1) or {}
end
local tree, known, ended = {ARGV[1]}, {[ARGV[1]] = true}, {}
local at = 1
while at <= #tree do
    local id = tree[at]
    local key, children = prefix .. 'token:' .. id, prefix .. 'children:' .. id
    for _, child in ipairs(redis.call('ZRANGE', children, 0, -1)) do
        if not known[child] then
            known[child] = true
            tree[#tree + 1] = child
        end
    end
    local owner, realm, username, hashed, parent, origin = unpack(
        redis.call('HMGET', key, 'owner', 'realm', 'username', 'hashed', 'parent', 'origin'))
    if owner then
        ended[#ended + 1] = id
        redis.call('ZREM', owner, id)
        if parent and parent ~= '' then redis.call('ZREM', prefix .. 'children:' .. parent, id) end
        if usual ~= '' then
            if not origin then
                local fixed = redis.call('HGET', key, 'fixed') or ''
                origin = string.find(fixed, '"provider": "imported:', 1, true) and 'import' or ''
            end
            local until_ = origin == 'import' and of_imported or usual
            local note = prefix .. 'revoked:' .. id
            local mark = string.sub(hashed, -8)
            redis.call('HSET', note, 'realm', realm, 'username', username)
            redis.call('HSET', note, 'mark', mark, 'until', until_)
            redis.call('EXPIREAT', note, math.floor(until_))
            redis.call('ZADD', KEYS[3], until_, id)
            local mine = prefix .. 'revocations:' .. owner
            redis.call('ZADD', mine, until_, id)
            redis.call('EXPIREAT', mine, math.floor(until_))
            for _, old in ipairs(excess(mine, share)) do
                redis.call('DEL', prefix .. 'revoked:' .. old)
                redis.call('ZREM', mine, old)
                redis.call('ZREM', KEYS[3], old)
            end
        end
    end
    redis.call('ZREM', KEYS[1], id)
    redis.call('ZREM', KEYS[2], id)
    redis.call('DEL', key, children)
    at = at + 1
end
for _, id in ipairs(usual ~= '' and excess(KEYS[3], most) or {}) do
    redis.call('DEL', prefix .. 'revoked:' .. id)
    redis.call('ZREM', KEYS[3], id)
end
return ended
"""
"""
A Lua script that removes an API token and all its descendants, and records that they are revoked.

A Redis Cluster would refuse the script that removes API tokens, because the script uses keys that
the caller does not list in C{KEYS}, such as the keys of descendants.
"""

SET_PEPPER_CHECK = """
if (redis.call('HGET', KEYS[1], 'pepper') or '') == ARGV[1] then
    redis.call('HSET', KEYS[1], 'pepper', ARGV[2])
end
return 1
"""
"""
A Lua script that replaces the check value of the pepper only if the stored check value equals
C{ARGV[1]}.
"""

REPLACE_POLICIES = """
if (redis.call('HGET', KEYS[1], 'state') or '') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'state', ARGV[2], 'content', ARGV[3])
return 1
"""
"""
A Lua script that replaces the policies only if their stored state equals C{ARGV[1]}, which is empty
if no policies were ever stored: returns 1 if replaced, or else 0.
"""

_NOTE_CHANGE = """
if ARGV[5] ~= '' then
    redis.call('PUBLISH', KEYS[3], ARGV[5])
    local fields = {'mark', ARGV[5], 'kind', ARGV[7], 'id', ARGV[1]}
    redis.call('XADD', KEYS[3], 'MAXLEN', ARGV[6], '*', unpack(fields))
end
"""
"""
Lines of a Lua script that note the change of a record in the stream of changes, C{KEYS[3]}, and
tell the subscribers of the channel with the same name.

The lines stand before those that change the record, because Redis keeps the effects of the first
lines of a script if the user may not run the command of a later line.
"""

_WRITE_RECORD = """
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'content', ARGV[2], 'until', ARGV[3])
if ARGV[4] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
redis.call('ZADD', KEYS[2], ARGV[3] == '' and '+inf' or ARGV[3], ARGV[1])
"""
"""
Lines of a Lua script that store a record in the hash C{KEYS[1]}, and its id in the sorted set of
its kind, C{KEYS[2]}.
"""

_DELETE_EXPIRED = """
local function delete_expired(index, prefix, now, most)
    local expired = redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, most)
    for _, id in ipairs(expired) do
        redis.call('DEL', prefix .. id)
        redis.call('ZREM', index, id)
    end
    return #expired
end
"""
"""A Lua function that deletes some expired records of one kind, and returns their number."""

ADD_RECORD = f"""
{_DELETE_EXPIRED}
local last = redis.call('HGET', KEYS[1], 'until')
if last and (last == '' or tonumber(last) > tonumber(ARGV[8])) then return 0 end
{_NOTE_CHANGE}
delete_expired(KEYS[2], ARGV[9], ARGV[8], 10)
{_WRITE_RECORD}
return 1
"""
"""
A Lua script that adds a record, and deletes up to 10 expired records of the same kind: returns 1 if
added, or 0 if an unexpired record has the same id.
"""

REPLACE_RECORD = f"""
if redis.call('HGET', KEYS[1], 'content') ~= ARGV[8] then return 0 end
{_NOTE_CHANGE}
{_WRITE_RECORD}
return 1
"""
"""
A Lua script that replaces a record only if its content equals C{ARGV[8]}: returns 1 if replaced,
or else 0.
"""

REMOVE_RECORD = f"""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
{_NOTE_CHANGE}
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('DEL', KEYS[1])
return 1
"""
"""A Lua script that removes a record: returns 1, or 0 if there is no record with this id."""

DELETE_EXPIRED_RECORDS = f"""
{_DELETE_EXPIRED}
return delete_expired(KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]))
"""
"""A Lua script that deletes up to C{ARGV[3]} expired records of one kind, and returns how many."""

READ_CHANGES = """
redis.call('DEL', KEYS[2])
local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if ARGV[1] == '' then return {0, newest} end
local known = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not known[1] or known[1][2][2] ~= ARGV[2] then return {0, newest} end
return {1, redis.call('XRANGE', KEYS[1], ARGV[1], '+', 'COUNT', ARGV[3])}
"""
"""
A Lua script that returns 1 and the entries of the stream of changes from the entry with the id
C{ARGV[1]} on, or 0 and the newest entry if the stream has no entry with this id and the mark
C{ARGV[2]}.

The command C{DEL} deletes nothing. A Redis server that accepts no changes refuses the command
C{DEL}: such a server may be a replica, or a primary that has lost its replicas, and may lack the
newest changes.
"""
