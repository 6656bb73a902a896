-- Send what a process that has disappeared left to be sent; see last_wills.py.
--
-- KEYS[1]   zset  processes that have left last wills on this server → when to see whether they are alive
-- KEYS[2]   hash  statistics of the whole layer: sent
-- ARGV[1]   milliseconds a message lives
-- ARGV[2]   milliseconds statistics live without a change
-- ARGV[3]   prefix of a process's presence (string): gone when the process is
-- ARGV[4]   prefix of the last wills of a process (hash): local part → capacity ":" channel ":" frame
-- ARGV[5]   prefix of the local parts whose last wills were carried out (set)
-- ARGV[6]   prefix of the mark of a process that seems to be gone (string)
-- ARGV[7]   prefix of a queue (list), as in push.lua
-- ARGV[8]   prefix of a queue's statistics (hash)
-- ARGV[9]   milliseconds from the mark until the last wills are carried out
-- ARGV[10]  milliseconds that last wills are kept
-- ARGV[11]  how many last wills to carry out at most
--
-- Returns whether there is more to do right now, as a list: an answer that is never empty.
-- Keys are built here: only the zset tells which processes there are.
--
-- A process that lives gives signs of life every few seconds. If they are missing, this server may have been away
-- just as well, and let the presence of everybody expire. So the process is marked first, and has the time until the
-- mark comes up to show that it is there; the mark itself expires too.

local MOST_PROCESSES = 20

local now = redis.call('TIME')
local ms = now[1] * 1000 + now[2] / 1000
local stamp = struct.pack('>d', ms + ARGV[1])

local function room_in(queue, capacity, most)
    return most - make_room(queue, redis.call('LLEN', queue) + most - capacity, ms)
end

local function push(channel, frames)
    local queue, statistics = ARGV[7] .. channel, ARGV[8] .. channel
    local length = redis.call('RPUSH', queue, unpack(frames))
    keep(queue, length == #frames, ARGV[1] + 10000)
    account(KEYS[2], #frames, 0, now)
    account(statistics, #frames, 0, now)
    redis.call('PEXPIRE', statistics, ARGV[2])
end

-- Carry out some last wills; returns how many, and whether a channel was full.
local function carry_out(process)
    local wills = ARGV[4] .. process
    local picked = redis.call('HRANDFIELD', wills, ARGV[11], 'WITHVALUES')
    local rooms, frames, done, full = {}, {}, {}, false
    for i = 1, #picked, 2 do
        local capacity, channel, frame = string.match(picked[i + 1], '^(%d+):([^:]*):(.*)$')
        if frame then
            rooms[channel] = rooms[channel] or room_in(ARGV[7] .. channel, tonumber(capacity), #picked / 2)
            frames[channel] = frames[channel] or {}
            if #frames[channel] < rooms[channel] then
                table.insert(frames[channel], stamp .. frame)
                done[#done + 1] = picked[i]
            else
                full = true
            end
        else
            -- None of ours: nobody could read it.
            redis.call('HDEL', wills, picked[i])
        end
    end
    for channel, waiting in pairs(frames) do
        if #waiting > 0 then
            push(channel, waiting)
        end
    end
    if #done > 0 then
        redis.call('HDEL', wills, unpack(done))
        redis.call('SADD', ARGV[5] .. process, unpack(done))
        redis.call('PEXPIRE', ARGV[5] .. process, ARGV[10])
    end
    return #done, full
end

local due = redis.call('ZRANGE', KEYS[1], '-inf', ms, 'BYSCORE', 'LIMIT', 0, MOST_PROCESSES)
for _, process in ipairs(due) do
    local wills, mark = ARGV[4] .. process, ARGV[6] .. process
    local alive = redis.call('PTTL', ARGV[3] .. process)
    if redis.call('EXISTS', wills) == 0 then
        redis.call('ZREM', KEYS[1], process)
    elseif alive ~= -2 then
        redis.call('DEL', mark)
        redis.call('PEXPIRE', wills, ARGV[10])
        redis.call('ZADD', KEYS[1], ms + math.max(1, alive), process)
    elseif redis.call('SET', mark, '', 'NX', 'PX', 2 * ARGV[9]) then
        redis.call('ZADD', KEYS[1], ms + ARGV[9], process)
    else
        redis.call('PEXPIRE', mark, 2 * ARGV[9])
        local done, full = carry_out(process)
        if full then
            redis.call('ZADD', KEYS[1], ms + ARGV[9] / 2, process)
        end
        if done > 0 then
            return { 1 }
        end
    end
end
return { #due == MOST_PROCESSES and 1 or 0 }
