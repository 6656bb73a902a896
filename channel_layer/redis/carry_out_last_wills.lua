-- Send what a process that has disappeared left to be sent; see last_wills.py.
--
-- Returns whether there is more to do right now, as a list: an answer that is never empty.
-- Keys are built here: only the zset tells which processes there are.
--
-- A process that lives gives heartbeats every few seconds. If they are missing, this server may have been away
-- just as well, and let the presence of everybody expire. So the process is marked first, and has the time until the
-- mark comes up to show that it is there; the mark itself expires too.
--
-- In a cluster nothing is carried out while the slot is on its way: a node refuses to look at a key that it has not, and
-- the presence of a process that is gone is one. The script ends there, before it has sent anything.

local processes = KEYS[1]       -- zset, those that have left last wills here → when to see whether they are alive
local all_statistics = KEYS[2]  -- hash, of the whole layer
local lifetime = ARGV[1]        -- milliseconds a message lives
local statistics_ms = ARGV[2]   -- lifetime of a reader's statistics, see account
local presences = ARGV[3]       -- prefix of a process's presence (string): gone when the process is
local last_wills = ARGV[4]      -- prefix of its last wills (hash): local part → capacity ":" channel ":" frame
local carried_out = ARGV[5]     -- prefix of the local parts whose last wills were carried out (set)
local marks = ARGV[6]           -- prefix of the mark of a process that seems to be gone (string)
local queues = ARGV[7]          -- prefix of a queue (list), as in push.lua
local statistics = ARGV[8]      -- prefix of a queue's statistics (hash)
local grace_ms = ARGV[9]        -- from the mark until the last wills are carried out
local kept_ms = ARGV[10]        -- for so long last wills are kept
local most = ARGV[11]           -- how many to carry out at a time

local MOST_PROCESSES = 20

local stamp = stamp_of(lifetime)

local function room_in(queue, capacity, wanted)
    return wanted - make_room(queue, redis.call('LLEN', queue) + wanted - capacity)
end

-- The last wills are taken away first. An error ends a script where it stands, and the next look would send again what
-- was pushed, and was not taken away.
local function move(process, members, channel, frames)
    redis.call('SADD', carried_out .. process, unpack(members))
    redis.call('PEXPIRE', carried_out .. process, kept_ms)
    redis.call('HDEL', last_wills .. process, unpack(members))
    local queue = queues .. channel
    local length = redis.call('RPUSH', queue, unpack(frames))
    keep(queue, length == #frames, lifetime)
    account(all_statistics, #frames, 0)
    account(statistics .. channel, #frames, 0, statistics_ms)
end

-- Carry out some last wills; returns how many, and whether a channel was full.
local function carry_out(process)
    local picked = redis.call('HRANDFIELD', last_wills .. process, most, 'WITHVALUES')
    local rooms, frames, members, done, full = {}, {}, {}, 0, false
    for i = 1, #picked, 2 do
        local capacity, channel, frame = string.match(picked[i + 1], '^(%d+):([^:]*):(.*)$')
        if frame then
            rooms[channel] = rooms[channel] or room_in(queues .. channel, tonumber(capacity), #picked / 2)
            frames[channel] = frames[channel] or {}
            members[channel] = members[channel] or {}
            if #frames[channel] < rooms[channel] then
                table.insert(frames[channel], stamp .. frame)
                table.insert(members[channel], picked[i])
                done = done + 1
            else
                full = true
            end
        else
            -- None of ours: nobody could read it.
            redis.call('HDEL', last_wills .. process, picked[i])
        end
    end
    for channel, waiting in pairs(frames) do
        if #waiting > 0 then
            move(process, members[channel], channel, waiting)
        end
    end
    return done, full
end

local due = redis.call('ZRANGE', processes, '-inf', ms, 'BYSCORE', 'LIMIT', 0, MOST_PROCESSES)
for _, process in ipairs(due) do
    local mark = marks .. process
    local alive = redis.call('PTTL', presences .. process)
    if redis.call('EXISTS', last_wills .. process) == 0 then
        redis.call('ZREM', processes, process)
    elseif alive ~= -2 then
        redis.call('DEL', mark)
        redis.call('PEXPIRE', last_wills .. process, kept_ms)
        redis.call('ZADD', processes, ms + math.max(1, alive), process)
    elseif redis.call('SET', mark, '', 'NX', 'PX', 2 * grace_ms) then
        redis.call('ZADD', processes, ms + grace_ms, process)
    else
        redis.call('PEXPIRE', mark, 2 * grace_ms)
        local done, full = carry_out(process)
        if full then
            redis.call('ZADD', processes, ms + grace_ms / 2, process)
        end
        if done > 0 then
            return { 1 }
        end
    end
end
return { #due == MOST_PROCESSES and 1 or 0 }
